/*
 * A link between two QEMUs that can be held up and cut
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "link.h"

struct AIALink {
    GThread *thread;
    char *to;
    int listener;
    /* Written to for the thread to look at the rest. */
    int wake[2];
    GMutex lock;
    bool held[2];
    bool cut;
};

static int unix_socket(const char *uri, struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_true(g_str_has_prefix(uri, "unix:"));
    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    g_assert_cmpuint(g_strlcpy(addr->sun_path, uri + strlen("unix:"),
                               sizeof(addr->sun_path)), <,
                     sizeof(addr->sun_path));
    return fd;
}

static int connect_to(const char *uri)
{
    struct sockaddr_un addr;
    int fd = unix_socket(uri, &addr);

    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), ==,
                    0);
    return fd;
}

static int listen_at(const char *uri)
{
    struct sockaddr_un addr;
    int fd = unix_socket(uri, &addr);

    unlink(addr.sun_path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 0), ==, 0);
    return fd;
}

/* Passes on what there is; false at the end of either side. */
static bool pass_on(int from, int to)
{
    char buf[65536];
    ssize_t got = read(from, buf, sizeof(buf));

    for (ssize_t done = 0; done < got;) {
        ssize_t n = send(to, buf + done, got - done, MSG_NOSIGNAL);

        if (n < 0) {
            return false;
        }
        done += n;
    }
    return got > 0;
}

static void *run_link(void *opaque)
{
    AIALink *link = opaque;
    int fd[2] = { -1, -1 };
    bool open = true;

    while (open) {
        struct pollfd p[] = {
            { .fd = link->wake[0], .events = POLLIN },
            { .fd = fd[0] < 0 ? link->listener : -1, .events = POLLIN },
            { .fd = -1, .events = POLLIN },
            { .fd = -1, .events = POLLIN },
        };
        char wake;

        g_mutex_lock(&link->lock);
        open = !link->cut;
        for (int i = 0; i < 2; i++) {
            p[2 + i].fd = link->held[i] ? -1 : fd[i];
        }
        g_mutex_unlock(&link->lock);
        if (!open) {
            break;
        }
        g_assert_cmpint(RETRY_ON_EINTR(poll(p, ARRAY_SIZE(p), -1)), >, 0);
        if (p[0].revents) {
            g_assert_cmpint(read(link->wake[0], &wake, 1), ==, 1);
        } else if (p[1].revents) {
            fd[0] = accept(link->listener, NULL, NULL);
            fd[1] = connect_to(link->to);
        } else {
            for (int i = 0; i < 2 && open; i++) {
                open = !p[2 + i].revents || pass_on(fd[i], fd[!i]);
            }
        }
    }
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0) {
            close(fd[i]);
        }
    }
    return NULL;
}

AIALink *aia_link_new(const char *uri, const char *to)
{
    AIALink *link = g_new0(AIALink, 1);

    link->to = g_strdup(to);
    link->listener = listen_at(uri);
    g_assert_cmpint(pipe2(link->wake, O_CLOEXEC), ==, 0);
    g_mutex_init(&link->lock);
    link->thread = g_thread_new("link", run_link, link);
    return link;
}

static void wake(AIALink *link)
{
    g_assert_cmpint(write(link->wake[1], "", 1), ==, 1);
}

void aia_link_hold(AIALink *link, bool there, bool back)
{
    g_mutex_lock(&link->lock);
    link->held[0] = there;
    link->held[1] = back;
    g_mutex_unlock(&link->lock);
    wake(link);
}

void aia_link_cut(AIALink *link)
{
    if (link->thread) {
        g_mutex_lock(&link->lock);
        link->cut = true;
        g_mutex_unlock(&link->lock);
        wake(link);
        g_thread_join(link->thread);
        link->thread = NULL;
        close(link->listener);
    }
}

void aia_link_free(AIALink *link)
{
    aia_link_cut(link);
    close(link->wake[0]);
    close(link->wake[1]);
    g_mutex_clear(&link->lock);
    g_free(link->to);
    g_free(link);
}

void aia_dead_end_open(AIADeadEnd *end, const char *uri)
{
    end->listener = listen_at(uri);
    end->queued = connect_to(uri);
}

void aia_dead_end_close(AIADeadEnd *end)
{
    close(end->listener);
    close(end->queued);
}
