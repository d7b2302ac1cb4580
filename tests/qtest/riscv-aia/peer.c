/*
 * Migration of a guest to another host and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For each case the source connects to the destination.  Each tells the other
 * what it is, and both fail unless that fits.  Then messages go to and fro,
 * lines of JSON:
 *
 *   {"listen": URI}                  ready for the guest, which comes by that
 *   {"guest": ..., "note": [...]}    it has been sent; what is saved of it
 *   {"guest": ...}                   what is saved of it where it came to
 *   {"end": WHY}                     instead: it has ended where it was
 *   {"passed": true}                 of each, last
 */

#include "qemu/osdep.h"
#include <netinet/tcp.h>
#include <poll.h>
#include "qapi/error.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/cutils.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "framework.h"
#include "peer-fit.h"
#include "peer.h"

#define ADDRESS AIA_PEER_ROLE "_ADDRESS"

/* How long a whole case may take, and how long the other may be late for it */
#define CASE_S  900
#define MEET_S  60

/* How long a guest may stand while it moves */
#define PATIENCE_MS 60000

typedef struct PeerCase {
    AIACase c;
    char *name;
    void (*home)(const void *c);
    void (*away)(const void *c);
} PeerCase;

static struct {
    int fd;
    FILE *in;
    GThread *watch;
    /* Written to for the watch to end. */
    int wake[2];
} peer = { .fd = -1 };

bool aia_has_peer(void)
{
    const char *role = g_getenv(AIA_PEER_ROLE);

    if (!role) {
        return false;
    }
    if (!g_str_equal(role, "source") && !g_str_equal(role, "destination")) {
        g_printerr("%s=%s: neither source nor destination\n",
                   AIA_PEER_ROLE, role);
        exit(EXIT_FAILURE);
    }
    return true;
}

bool aia_is_source(void)
{
    return g_str_equal(g_getenv(AIA_PEER_ROLE), "source");
}

static SocketAddress *peer_address(Error **errp)
{
    SocketAddress *addr = g_new0(SocketAddress, 1);

    addr->type = SOCKET_ADDRESS_TYPE_INET;
    if (inet_parse(&addr->u.inet, g_getenv(ADDRESS) ?: "", errp) < 0) {
        error_prepend(errp, "%s: ", ADDRESS);
        g_free(addr);
        return NULL;
    }
    return addr;
}

/* Nothing tells of a listener that is not there yet but another attempt. */
static int connect_to_peer(SocketAddress *addr, Error **errp)
{
    int64_t end = g_get_monotonic_time() + MEET_S * G_USEC_PER_SEC;

    for (;;) {
        Error *err = NULL;
        int fd = socket_connect(addr, &err);

        if (fd >= 0) {
            return fd;
        }
        if (g_get_monotonic_time() >= end) {
            error_propagate(errp, err);
            return -1;
        }
        error_free(err);
        g_usleep(G_USEC_PER_SEC / 10);
    }
}

static int wait_for_peer(SocketAddress *addr, Error **errp)
{
    int listener = socket_listen(addr, 1, errp);
    struct pollfd p = { .fd = listener, .events = POLLIN };
    int fd = -1;

    if (listener < 0) {
        return -1;
    }
    if (RETRY_ON_EINTR(poll(&p, 1, MEET_S * 1000)) == 1) {
        fd = qemu_accept(listener, NULL, NULL);
    }
    if (fd < 0) {
        error_setg(errp, "nobody connects to %s", g_getenv(ADDRESS));
    }
    close(listener);
    return fd;
}

/* A host that has gone without a word is noticed, too. */
static void keep_alive(int fd)
{
    static const struct {
        int level;
        int option;
        int value;
    } options[] = {
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, 10 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 5 },
        { IPPROTO_TCP, TCP_KEEPCNT, 6 },
        { IPPROTO_TCP, TCP_USER_TIMEOUT, 40000 },
        { IPPROTO_TCP, TCP_NODELAY, 1 },
    };

    for (int i = 0; i < ARRAY_SIZE(options); i++) {
        g_assert_cmpint(setsockopt(fd, options[i].level, options[i].option,
                                   &options[i].value, sizeof(int)), ==, 0);
    }
}

/* Who waits for a QEMU does not look at the connection: this ends the wait. */
static void *watch_peer(void *opaque)
{
    struct pollfd p[] = {
        { .fd = peer.fd, .events = POLLRDHUP },
        { .fd = peer.wake[0], .events = POLLIN },
    };

    if (RETRY_ON_EINTR(poll(p, ARRAY_SIZE(p), CASE_S * 1000)) == 0) {
        g_test_message("not done after %u s", CASE_S);
    } else if (p[1].revents) {
        return NULL;
    } else {
        g_test_message("the connection to the %s has gone: it failed, as it "
                       "says, or it or the link is down", aia_peer_other());
    }
    /*
     * The kernel ends the QEMUs (PR_SET_PDEATHSIG), while abort() might end all
     * of this process group (docs/qemu-facts.md, libqtest).
     */
    _exit(EXIT_FAILURE);
}

/* False if there is none. */
static bool send_message(QDict *message)
{
    g_autoptr(GString) json = qobject_to_json(QOBJECT(message));
    size_t done = 0;

    g_string_append_c(json, '\n');
    qobject_unref(message);
    while (done < json->len) {
        ssize_t n = RETRY_ON_EINTR(send(peer.fd, json->str + done,
                                        json->len - done, MSG_NOSIGNAL));

        if (n < 0) {
            return false;
        }
        done += n;
    }
    return true;
}

/* NULL if there is none. */
static QDict *receive_message(void)
{
    char *got = NULL;
    size_t size = 0;
    QDict *message = NULL;

    if (getline(&got, &size, peer.in) > 0) {
        message = qobject_to(QDict, qobject_from_json(got, NULL));
    }
    free(got);
    return message;
}

static void tell(QDict *message)
{
    if (!send_message(message)) {
        g_test_message("the %s is gone: %s", aia_peer_other(), strerror(errno));
        g_assert_not_reached();
    }
}

static QDict *hear(void)
{
    QDict *message = receive_message();

    if (!message) {
        g_test_message("the %s is gone", aia_peer_other());
        g_assert_not_reached();
    }
    return message;
}

static void set_patience(unsigned seconds)
{
    struct timeval wait = { .tv_sec = seconds };

    g_assert_cmpint(setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &wait,
                               sizeof(wait)), ==, 0);
}

static void start_watch(void)
{
    g_assert_cmpint(pipe2(peer.wake, O_CLOEXEC), ==, 0);
    peer.watch = g_thread_new("peer", watch_peer, NULL);
}

static void end_watch(void)
{
    g_assert_cmpint(write(peer.wake[1], "", 1), ==, 1);
    g_thread_join(peer.watch);
    close(peer.wake[0]);
    close(peer.wake[1]);
    peer.watch = NULL;
}

static void part(void)
{
    if (peer.in) {
        fclose(peer.in);
        peer.in = NULL;
    }
    if (peer.fd >= 0) {
        close(peer.fd);
        peer.fd = -1;
    }
}

static bool meet(const PeerCase *p)
{
    SocketAddress *addr;
    Error *err = NULL;
    QDict *mine, *theirs;
    bool fit;

    addr = peer_address(&err);
    if (addr) {
        peer.fd = aia_is_source() ? connect_to_peer(addr, &err)
                                  : wait_for_peer(addr, &err);
        qapi_free_SocketAddress(addr);
    }
    if (peer.fd < 0) {
        g_test_message("no %s: %s", aia_peer_other(), error_get_pretty(err));
        error_free(err);
        return false;
    }
    keep_alive(peer.fd);
    set_patience(MEET_S);
    peer.in = fdopen(fcntl(peer.fd, F_DUPFD_CLOEXEC, 0), "r");
    g_assert_nonnull(peer.in);

    mine = aia_peer_introduction(p->name, p->c.guest);
    send_message(qobject_ref(mine));
    theirs = receive_message();
    fit = theirs && aia_peer_fits(mine, theirs);
    if (!theirs) {
        g_test_message("what is at %s does not say that it is the %s",
                       g_getenv(ADDRESS), aia_peer_other());
    }
    qobject_unref(mine);
    qobject_unref(theirs);
    return fit;
}

static void run(const void *opaque)
{
    const PeerCase *p = opaque;
    QDict *theirs;

    if (!meet(p)) {
        g_test_fail();
        part();
        return;
    }
    set_patience(0);
    start_watch();
    (aia_is_source() ? p->home : p->away)(&p->c);
    /* The other goes when it has heard that. */
    end_watch();
    set_patience(MEET_S);
    tell(qdict_from_jsonf_nofail("{'passed': true}"));
    theirs = hear();
    g_assert_true(qdict_haskey(theirs, "passed"));
    qobject_unref(theirs);
    part();
}

static void free_case(void *opaque)
{
    PeerCase *p = opaque;

    g_free(p->name);
    g_free(p);
}

void aia_peer_add(const char *path, const AIACase *c,
                  void (*home)(const void *c), void (*away)(const void *c))
{
    PeerCase p = { .c = *c, .home = home, .away = away };
    g_autofree char *full = g_strdup_printf("riscv-aia/cross/%s", path);

    p.name = g_strdup(path);
    qtest_add_data_func_full(full, g_memdup2(&p, sizeof(p)), run, free_case);
}

/* The address that the other reaches us at, as it is written in a URI */
static char *own_address(void)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char host[NI_MAXHOST];

    g_assert_cmpint(getsockname(peer.fd, (struct sockaddr *)&ss, &len), ==, 0);
    g_assert_cmpint(getnameinfo((struct sockaddr *)&ss, len, host,
                                sizeof(host), NULL, 0, NI_NUMERICHOST), ==, 0);
    return g_strdup_printf(strchr(host, ':') ? "[%s]" : "%s", host);
}

static void put_file(QDict *message, const char *file)
{
    g_autofree char *data = NULL, *text = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(file, &data, &len, NULL));
    text = g_base64_encode((guchar *)data, len);
    qdict_put_str(message, "guest", text);
}

static void get_file(QDict *message, const char *file)
{
    g_autofree guchar *data = NULL;
    gsize len;

    g_assert_nonnull(qdict_get_try_str(message, "guest"));
    data = g_base64_decode(qdict_get_str(message, "guest"), &len);
    g_assert_true(g_file_set_contents(file, (char *)data, len, NULL));
}

void aia_peer_send(QTestState *from, const AIACase *c, const AIAPeerNote note)
{
    bool postcopy = g_strcmp0(c->move->how, "postcopy") == 0;
    QDict *message = hear();
    AIAFiles f;

    g_assert_nonnull(qdict_get_try_str(message, "listen"));
    if (g_strcmp0(c->move->how, "stopped") == 0 && aia_is_running(from)) {
        aia_stop(from);
    }
    aia_set_capabilities(from, c->move, true);
    /* A busy guest fills its memory faster than a slow link takes it. */
    migrate_set_parameter_int(from, "downtime-limit", PATIENCE_MS);
    if (postcopy) {
        aia_prepare_postcopy(from);
    }
    migrate_qmp(from, NULL, qdict_get_str(message, "listen"), NULL, "{}");
    qobject_unref(message);
    if (postcopy) {
        aia_start_postcopy(from);
    }
    wait_for_migration_complete(from);

    aia_files_init(&f);
    aia_save_devices(from, f.a);
    message = qdict_from_jsonf_nofail("{'note': [%" PRIu64 ", %" PRIu64 "]}",
                                      note[0], note[1]);
    put_file(message, f.a);
    tell(message);
    message = hear();
    get_file(message, f.b);
    qobject_unref(message);
    if (!c->sends_on_load) {
        aia_compare_streams(c, f.a, f.b);
    }
    aia_files_free(&f);
    qtest_quit(from);
}

QTestState *aia_peer_receive(const AIACase *c, AIAPeerNote note)
{
    g_autofree char *address = own_address();
    g_autofree char *uri = g_strdup_printf("tcp:%s:0", address);
    g_autofree char *where = NULL;
    QTestState *to = aia_start(c, aia_is_source() ? c->from : c->to,
                               "-S -incoming defer");
    QDict *message;
    const QListEntry *entry;
    AIAFiles f;

    aia_set_capabilities(to, c->move, true);
    aia_incoming(to, uri);
    where = migrate_get_connect_uri(to);
    tell(qdict_from_jsonf_nofail("{'listen': %s}", where));
    message = hear();
    if (qdict_haskey(message, "end")) {
        const char *why = qdict_get_try_str(message, "end");

        if (why && *why) {
            g_test_skip(why);
        }
        qobject_unref(message);
        qtest_quit(to);
        return NULL;
    }
    wait_for_migration_complete(to);
    g_assert_false(aia_is_running(to));

    aia_files_init(&f);
    get_file(message, f.a);
    entry = qlist_first(qdict_get_qlist(message, "note"));
    for (int i = 0; i < 2; i++) {
        note[i] = qnum_get_uint(qobject_to(QNum, qlist_entry_obj(entry)));
        entry = qlist_next(entry);
    }
    qobject_unref(message);
    aia_save_devices(to, f.b);
    message = qdict_new();
    put_file(message, f.b);
    tell(message);
    if (!c->sends_on_load) {
        aia_compare_streams(c, f.a, f.b);
    }
    aia_files_free(&f);
    aia_set_capabilities(to, c->move, false);
    return to;
}

void aia_peer_end(const char *why)
{
    /* Whoever has no guest is ready for it. */
    qobject_unref(hear());
    tell(qdict_from_jsonf_nofail("{'end': %s}", why ?: ""));
    if (why) {
        g_test_skip(why);
    }
}

static QTestState *move(QTestState *from, const AIACase *c)
{
    AIAPeerNote note = { 0 };
    QTestState *to;

    aia_peer_send(from, c, note);
    to = aia_peer_receive(c, note);
    if (to) {
        aia_cont(to);
    }
    return to;
}

const AIAMove aia_peer_moves[] = {
    { "stopped", move, { "return-path" }, .how = "stopped" },
    { "live", move, { "return-path" } },
    { "multifd", move, { "return-path", "multifd" } },
    { "multifd-zlib", move, { "return-path", "multifd" }, "zlib" },
    { "multifd-zstd", move, { "return-path", "multifd" }, "zstd" },
    { "postcopy", move, { "return-path", "postcopy-ram" },
      .how = "postcopy" },
};
const int aia_num_peer_moves = ARRAY_SIZE(aia_peer_moves);
