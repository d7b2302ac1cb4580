/*
 * How much memory QEMU finds that it can still get
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * By files as proc_meminfo(5), cgroups(7) and proc_pid_mountinfo(5) tell of
 * them, in a directory that stands for the root of the file system.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "target/riscv/kvm/faults/room.h"

/* Of version 1, for none: the greatest multiple of a page */
#define NO_LIMIT_V1 "9223372036854771712\n"

#define V1 "30 1 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define V2 "31 1 0:31 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n"

static char *root;

static void put(const char *path, const char *text)
{
    g_autofree char *name = g_build_filename(root, path, NULL);
    g_autofree char *dir = g_path_get_dirname(name);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0755), ==, 0);
    g_assert_true(g_file_set_contents(name, text, -1, NULL));
}

static void put_in(const char *dir, const char *file, const char *text)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);

    put(path, text);
}

static void v2(const char *dir, const char *max, const char *current)
{
    put_in(dir, "memory.max", max);
    put_in(dir, "memory.current", current);
}

static void v1(const char *dir, const char *limit, const char *usage)
{
    put_in(dir, "memory.limit_in_bytes", limit);
    put_in(dir, "memory.usage_in_bytes", usage);
}

static void remove_all(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(path, name, NULL);

        remove_all(below);
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_assert_cmpint(remove(path), ==, 0);
}

/* @who is the end of the name of who has no more than @room. */
static void check(uint64_t room, const char *who)
{
    g_autofree char *said = NULL;

    g_assert_cmpuint(riscv_room_below(root, &said), ==, room);
    if (!g_str_has_suffix(said, who)) {
        g_test_message("%s, not %s", said, who);
        g_test_fail();
    }
    remove_all(root);
    g_free(root);
}

static void host(const char *cgroup, const char *mountinfo)
{
    root = g_dir_make_tmp("riscv-aia-room-XXXXXX", NULL);
    g_assert_nonnull(root);
    put("proc/meminfo", "MemTotal:       8388608 kB\n"
                        "MemFree:         102400 kB\n"
                        "MemAvailable:   4194304 kB\n");
    put("proc/self/cgroup", cgroup);
    put("proc/self/mountinfo", mountinfo);
}

static void test_nothing(void)
{
    root = g_dir_make_tmp("riscv-aia-room-XXXXXX", NULL);
    g_assert_nonnull(root);
    check(UINT64_MAX, "the host");
}

static void test_host(void)
{
    host("0::/a\n", "");
    check(4 * GiB, "the host");
    host("0::/a\n", V2);
    check(4 * GiB, "the host");
    host("0::/a\n", V2);
    v2("sys/fs/cgroup/a", "max\n", "1048576\n");
    check(4 * GiB, "the host");
    host("5:memory:/a\n", V1);
    v1("sys/fs/cgroup/memory/a", NO_LIMIT_V1, "1048576\n");
    check(4 * GiB, "the host");
}

/* Whichever it is, from QEMU's own up to the one at the top */
static void test_above(void)
{
    static const char *const names[] = { "", "/a", "/a/b", "/a/b/c" };

    for (int i = 0; i < ARRAY_SIZE(names); i++) {
        for (int k = 0; k < ARRAY_SIZE(names); k++) {
            g_autofree char *dir = g_strconcat("sys/fs/cgroup", names[k],
                                               NULL);

            if (k == 0) {
                host("0::/a/b/c\n", V2);
            }
            v2(dir, i == k ? "536870912\n" : "max\n", "134217728\n");
        }
        check(384 * MiB, i ? names[i] : "cgroup/");
        for (int k = 0; k < ARRAY_SIZE(names); k++) {
            g_autofree char *dir = g_strconcat("sys/fs/cgroup/memory",
                                               names[k], NULL);

            if (k == 0) {
                host("5:memory:/a/b/c\n", V1);
            }
            v1(dir, i == k ? "536870912\n" : NO_LIMIT_V1, "134217728\n");
        }
        check(384 * MiB, i ? names[i] : "memory/");
    }
}

/* No more than the host has, and nothing where there is more than may be */
static void test_bounds(void)
{
    host("0::/a\n", V2);
    v2("sys/fs/cgroup/a", "8589934592\n", "0\n");
    check(4 * GiB, "the host");
    host("0::/a\n", V2);
    v2("sys/fs/cgroup/a", "1048576\n", "2097152\n");
    check(0, "/a");
    host("5:memory:/a\n", V1);
    v1("sys/fs/cgroup/memory/a", "1048576\n", "2097152\n");
    check(0, "/a");
}

/* Above that, who takes more is stopped until he has less. */
static void test_high(void)
{
    host("0::/a\n", V2);
    v2("sys/fs/cgroup/a", "1073741824\n", "134217728\n");
    put("sys/fs/cgroup/a/memory.high", "536870912\n");
    check(384 * MiB, "/a");
}

/* Of what is in use, all or half of a cache can be taken. */
static void test_cache(void)
{
    host("0::/a\n", V2);
    v2("sys/fs/cgroup/a", "536870912\n", "268435456\n");
    put("sys/fs/cgroup/a/memory.stat", "anon 1\nfile 100663296\n"
        "inactive_file 67108864\nactive_file 33554432\n");
    check(336 * MiB, "/a");
    host("5:memory:/a\n", V1);
    v1("sys/fs/cgroup/memory/a", "536870912\n", "268435456\n");
    put("sys/fs/cgroup/memory/a/memory.stat", "inactive_file 1\n"
        "active_file 1\ntotal_inactive_file 67108864\n"
        "total_active_file 33554432\n");
    check(336 * MiB, "/a");
}

/* Version 1 for memory, and version 2 for other things */
static void test_both(void)
{
    host("5:memory:/a\n1:name=systemd:/s\n0::/s\n",
         "31 1 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
         "32 1 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup "
         "rw,name=systemd\n" V1);
    v1("sys/fs/cgroup/memory/a", "536870912\n", "0\n");
    put("sys/fs/cgroup/unified/s/cgroup.procs", "1\n");
    put("sys/fs/cgroup/systemd/s/memory.limit_in_bytes", "1\n");
    check(512 * MiB, "/a");
}

/* With another controller, and beside those without it */
static void test_controllers(void)
{
    host("3:cpu:/x\n4:cpuset,memory:/a\n",
         "32 1 0:32 / /cpu rw - cgroup cgroup rw,cpu\n"
         "33 1 0:33 / /both rw,relatime shared:7 master:2 - cgroup cgroup "
         "rw,cpuset,memory\n");
    v1("both/a", "536870912\n", "0\n");
    v1("cpu/x", "1\n", "0\n");
    check(512 * MiB, "both/a");
}

/* A container sees its part of the hierarchy, under the whole one's names. */
static void test_container(void)
{
    static const char mounts[] =
        "29 1 0:31 /other /other rw - cgroup2 cgroup2 rw\n"
        "30 1 0:31 /box/1/a /part rw - cgroup2 cgroup2 rw\n"
        "31 1 0:31 /box/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    host("0::/box/1/vm\n", mounts);
    v2("sys/fs/cgroup/vm", "536870912\n", "0\n");
    v2("other/box/1/vm", "1\n", "0\n");
    check(512 * MiB, "/vm");
    host("0::/box/1/vm\n", mounts);
    v2("sys/fs/cgroup", "268435456\n", "0\n");
    check(256 * MiB, "cgroup/");
    host("5:memory:/box/1/vm\n",
         "30 1 0:30 /box/1 /sys/fs/cgroup/memory rw - cgroup c rw,memory\n");
    v1("sys/fs/cgroup/memory/vm", "536870912\n", "0\n");
    check(512 * MiB, "/vm");
    /* It is not the one whose name begins so. */
    host("0::/box/10\n", mounts);
    v2("sys/fs/cgroup", "268435456\n", "0\n");
    check(4 * GiB, "the host");
}

static void test_names(void)
{
    host("0::/machine/a b:c\n",
         "31 1 0:31 / /c\\040groups rw - cgroup2 cgroup2 rw\n");
    v2("c groups/machine/a b:c", "536870912\n", "0\n");
    check(512 * MiB, "/a b:c");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv-aia/room/nothing", test_nothing);
    g_test_add_func("/riscv-aia/room/host", test_host);
    g_test_add_func("/riscv-aia/room/above", test_above);
    g_test_add_func("/riscv-aia/room/bounds", test_bounds);
    g_test_add_func("/riscv-aia/room/high", test_high);
    g_test_add_func("/riscv-aia/room/cache", test_cache);
    g_test_add_func("/riscv-aia/room/both", test_both);
    g_test_add_func("/riscv-aia/room/controllers", test_controllers);
    g_test_add_func("/riscv-aia/room/container", test_container);
    g_test_add_func("/riscv-aia/room/names", test_names);
    return g_test_run();
}
