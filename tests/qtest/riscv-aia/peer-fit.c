/*
 * What two instances of the test must have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/utsname.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "peer.h"
#include "peer-fit.h"

/* Changes with what is said to the other. */
#define PROTOCOL 1

const char *aia_peer_other(void)
{
    return aia_is_source() ? "destination" : "source";
}

static char *file_sum(const char *file)
{
    g_autofree char *data = NULL;
    gsize len;

    if (!g_file_get_contents(file, &data, &len, NULL)) {
        return g_strdup("missing");
    }
    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)data, len);
}

static uint32_t timebase(void)
{
    g_autofree char *be = NULL;
    gsize len;

    return g_file_get_contents("/proc/device-tree/cpus/timebase-frequency",
                               &be, &len, NULL) && len == sizeof(uint32_t)
        ? ldl_be_p(be) : 0;
}

/* What must be the same on both, and how that is called */
static const struct {
    const char *key;
    const char *what;
} must_fit[] = {
    { "protocol", "version of the test" },
    { "qemu", "version of QEMU" },
    { "case", "next case" },
    { "form", "form of the cases" },
    { "guest", "guest (its checksum)" },
    { "files", "guest interrupt files of a CPU" },
    { "page-size", "page size of the kernel" },
    { "timebase", "timebase of the kernel in Hz" },
};

QDict *aia_peer_introduction(const char *name, const char *guest)
{
    g_autofree char *elf = g_strdup_printf(
        "%s/%s.elf", g_getenv("QTEST_RISCV_AIA_GUESTS"), guest);
    g_autofree char *sum = file_sum(elf);
    QDict *dict = qdict_new();
    struct utsname host;

    uname(&host);
    qdict_put_int(dict, "protocol", PROTOCOL);
    qdict_put_str(dict, "role", g_getenv(AIA_PEER_ROLE));
    qdict_put_str(dict, "qemu", QEMU_VERSION);
    qdict_put_str(dict, "case", name);
    qdict_put_str(dict, "form", g_test_slow() ? "long" : "short");
    qdict_put_str(dict, "guest", sum);
    qdict_put_int(dict, "files", aia_guest_files());
    qdict_put_int(dict, "page-size", qemu_real_host_page_size());
    qdict_put_int(dict, "timebase", timebase());
    qdict_put_str(dict, "kernel", host.release);
    return dict;
}

/* Numbers as text, for a message */
static char *value_of(QDict *dict, const char *key)
{
    QObject *value = qdict_get(dict, key);
    g_autoptr(GString) json = NULL;

    if (!value) {
        return g_strdup("unknown");
    }
    json = qobject_to_json(value);
    return g_strdup(json->str);
}

bool aia_peer_fits(QDict *mine, QDict *theirs)
{
    g_autofree char *kernel = value_of(theirs, "kernel");
    bool fit = true;

    for (int i = 0; i < ARRAY_SIZE(must_fit); i++) {
        g_autofree char *a = value_of(mine, must_fit[i].key);
        g_autofree char *b = value_of(theirs, must_fit[i].key);

        if (!g_str_equal(a, b)) {
            g_test_message("%s: %s on the %s, %s on the %s", must_fit[i].what,
                           a, g_getenv(AIA_PEER_ROLE), b, aia_peer_other());
            fit = false;
        }
    }
    if (g_strcmp0(qdict_get_try_str(theirs, "role"), aia_peer_other())) {
        g_test_message("both are the %s", g_getenv(AIA_PEER_ROLE));
        fit = false;
    }
    if (fit) {
        g_test_message("the %s has Linux %s", aia_peer_other(), kernel);
    }
    return fit;
}
