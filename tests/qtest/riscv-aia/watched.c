/*
 * QEMUs whose words and end are watched, and whose accesses can be made to fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include "qemu/atomic.h"
#include "migration/migration-qmp.h"
#include "watched.h"

static char *temporary_file(void)
{
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("riscv-aia-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    return g_steal_pointer(&name);
}

static FaultControl *map_faults(const char *name)
{
    int fd = open(name, O_RDWR);
    void *p;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, sizeof(FaultControl)), ==, 0);
    p = mmap(NULL, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED,
             fd, 0);
    g_assert_true(p != MAP_FAILED);
    close(fd);
    return p;
}

/* Beside the test: tests/qtest/riscv-aia/riscv-aia-fault.so */
static char *fault_library(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);
    char *name = g_build_filename(dir, "riscv-aia", "riscv-aia-fault.so",
                                  NULL);

    g_assert_true(g_file_test(name, G_FILE_TEST_EXISTS));
    return name;
}

void aia_watched_prepare(AIAWatched *w)
{
    memset(w, 0, sizeof(*w));
    w->fault_file = temporary_file();
    w->fault = map_faults(w->fault_file);
}

void aia_watched_preload(AIAWatched *w, bool preload)
{
    g_autofree char *library = fault_library();

    if (preload) {
        g_setenv(FAULT_ENV, w->fault_file, true);
        g_setenv("LD_PRELOAD", library, true);
    } else {
        g_unsetenv("LD_PRELOAD");
    }
}

void aia_watched_forget(AIAWatched *w)
{
    if (w->fault) {
        munmap(w->fault, sizeof(*w->fault));
        unlink(w->fault_file);
        g_free(w->fault_file);
    }
    memset(w, 0, sizeof(*w));
}

void aia_watched_start(AIAWatched *w, const AIACase *c, const char *mode,
                       const char *more)
{
    g_autofree char *options = NULL;

    w->words_file = temporary_file();
    /* A shell starts QEMU. */
    options = g_strdup_printf("%s -trace process_incoming_migration_co_end "
                              "2>%s", more, w->words_file);
    if (w->fault) {
        aia_watched_preload(w, true);
    }
    w->qts = aia_start(c, mode, options);
    if (w->fault) {
        aia_watched_preload(w, false);
    }
}

char *aia_watched_words(AIAWatched *w)
{
    g_autofree char *all = NULL, *said = NULL;
    g_autofree char *noted = g_steal_pointer(&w->noted);
    gsize len;
    size_t from = w->words_read;

    g_assert_true(g_file_get_contents(w->words_file, &all, &len, NULL));
    w->words_read = len;
    /* QEMU repeats what a stream says, whatever that is. */
    said = g_utf8_make_valid(all + from, len - from);
    return g_strconcat(said, noted, NULL);
}

void aia_watched_note(AIAWatched *w, const char *words)
{
    g_free(w->noted);
    w->noted = g_strdup(words);
}

bool aia_watched_ended(AIAWatched *w)
{
    int status;

    if (w->ended || waitpid(qtest_pid(w->qts), &status, WNOHANG) == 0) {
        return w->ended;
    }
    w->ended = true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_FAILURE) {
        g_autofree char *words = aia_watched_words(w);

        g_test_message("QEMU ended with %s %d; it said: %s",
                       WIFEXITED(status) ? "status" : "signal",
                       WIFEXITED(status) ? WEXITSTATUS(status)
                                         : WTERMSIG(status), words);
        g_test_fail();
    }
    return true;
}

void aia_watched_wait_end(AIAWatched *w)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    while (!aia_watched_ended(w)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(5000);
    }
}

bool aia_watched_loaded(AIAWatched *w)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    g_autofree char *words = NULL;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(5000);
        if (aia_watched_ended(w)) {
            return false;
        }
        g_free(words);
        g_assert_true(g_file_get_contents(w->words_file, &words, NULL, NULL));
    } while (!strstr(words, "process_incoming_migration_co_end ret=0"));
    wait_for_migration_complete(w->qts);
    return true;
}

void aia_watched_quit(AIAWatched *w)
{
    if (w->ended) {
        /* It has been waited for here; libqtest only finds that it is gone. */
        g_assert_false(qtest_probe_child(w->qts));
    }
    qtest_quit(w->qts);
    unlink(w->words_file);
    g_free(w->words_file);
    g_clear_pointer(&w->noted, g_free);
    aia_watched_forget(w);
}

void aia_watched_kill(AIAWatched *w)
{
    pid_t pid = qtest_pid(w->qts);
    int status;

    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    /* It may have been about to end by itself. */
    g_assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
                  (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE));
    w->ended = true;
    aia_watched_quit(w);
}

void aia_watched_arm(AIAWatched *w, uint64_t request, uint64_t mask,
                     uint64_t match, unsigned nth, unsigned times, int error)
{
    FaultControl *fault = w->fault;

    aia_watched_disarm(w);
    fault->mask = mask;
    fault->match = match;
    fault->nth = nth;
    fault->times = times;
    fault->error = error;
    fault->calls = 0;
    fault->failed = 0;
    qatomic_store_release(&fault->request, request);
}

void aia_watched_disarm(AIAWatched *w)
{
    qatomic_store_release(&w->fault->request, 0);
}

void aia_watched_wait_count(const uint32_t *count)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;

    while (!qatomic_read(count)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}
