/*
 * Memory that QEMU can still get
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whoever takes more than that is killed, or has another killed.
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "room.h"

/* The number in a file that holds nothing else, or @otherwise */
static uint64_t number(const char *dir, const char *file, uint64_t otherwise)
{
    g_autofree char *path = g_build_filename(dir, file, NULL);
    g_autofree char *text = NULL;
    uint64_t val;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        qemu_strtou64(g_strchomp(text), NULL, 10, &val)) {
        return otherwise;
    }
    return val;
}

/* The number that follows @key, of a line of its own in @text, or 0 */
static uint64_t keyed(const char *text, const char *key)
{
    const char *p = text;
    size_t len = strlen(key);

    while (p) {
        if (!strncmp(p, key, len) && (p[len] == ' ' || p[len] == ':')) {
            return g_ascii_strtoull(p + len + 1, NULL, 10);
        }
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return 0;
}

/* Takes in what a cgroup has left, by the files' names in its version. */
static void cgroup_room(const char *dir, bool v2, uint64_t *room, char **who)
{
    g_autofree char *stat_path = g_build_filename(dir, "memory.stat", NULL);
    g_autofree char *stat = NULL;
    uint64_t limit, used, left;

    limit = number(dir, v2 ? "memory.max" : "memory.limit_in_bytes",
                   UINT64_MAX);
    if (v2) {
        limit = MIN(limit, number(dir, "memory.high", UINT64_MAX));
    }
    used = number(dir, v2 ? "memory.current" : "memory.usage_in_bytes", 0);
    if (g_file_get_contents(stat_path, &stat, NULL, NULL)) {
        uint64_t cache =
            keyed(stat, v2 ? "inactive_file" : "total_inactive_file") +
            keyed(stat, v2 ? "active_file" : "total_active_file") / 2;

        used -= MIN(used, cache);
    }
    left = limit - MIN(limit, used);
    if (left < *room) {
        *room = left;
        g_free(*who);
        *who = g_strdup_printf("cgroup %s", dir);
    }
}

/* All from that of @path up to the one that is mounted at @mount */
static void cgroups_room(const char *mount, const char *path, bool v2,
                         uint64_t *room, char **who)
{
    g_autofree char *dir = g_build_filename(mount, path, NULL);

    while (strlen(dir) >= strlen(mount)) {
        char *up;

        cgroup_room(dir, v2, room, who);
        up = g_path_get_dirname(dir);
        g_free(dir);
        dir = up;
        if (g_str_equal(dir, "/")) {
            break;
        }
    }
}

/* Where the hierarchy with the memory controller is mounted, or NULL */
static char *find_mount(const char *mountinfo, bool v2)
{
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);

    for (char **line = lines; *line; line++) {
        /* id parent device root mount options [optional] - type source ... */
        g_auto(GStrv) field = g_strsplit(*line, " ", -1);
        const char *tail = strstr(*line, " - ");
        bool found;

        if (g_strv_length(field) < 6 || !tail) {
            continue;
        }
        if (v2) {
            found = g_str_has_prefix(tail, " - cgroup2 ");
        } else {
            g_auto(GStrv) type = g_strsplit(tail + 3, " ", 3);
            g_auto(GStrv) option = g_strsplit(type[2] ?: "", ",", -1);

            found = g_str_equal(type[0], "cgroup") &&
                    g_strv_contains((const char *const *)option, "memory");
        }
        if (found) {
            return g_strdup(field[4]);
        }
    }
    return NULL;
}

uint64_t riscv_room(char **who)
{
    g_autofree char *meminfo = NULL, *cgroups = NULL, *mountinfo = NULL;
    g_auto(GStrv) lines = NULL;
    uint64_t room = UINT64_MAX;

    *who = g_strdup("the host");
    if (g_file_get_contents("/proc/meminfo", &meminfo, NULL, NULL)) {
        room = keyed(meminfo, "MemAvailable") * KiB;
    }
    if (!g_file_get_contents("/proc/self/cgroup", &cgroups, NULL, NULL) ||
        !g_file_get_contents("/proc/self/mountinfo", &mountinfo, NULL, NULL)) {
        return room;
    }
    lines = g_strsplit(cgroups, "\n", -1);
    for (char **line = lines; *line; line++) {
        /* hierarchy:controllers:path, and of version 2 no controllers */
        g_auto(GStrv) field = g_strsplit(*line, ":", 3);
        g_auto(GStrv) controller = g_strsplit(field[0] ? field[1] ?: "" : "",
                                              ",", -1);
        bool v2 = g_str_equal(field[0] ?: "", "0");
        g_autofree char *mount = NULL;

        if (g_strv_length(field) < 3 ||
            (!v2 && !g_strv_contains((const char *const *)controller,
                                     "memory"))) {
            continue;
        }
        mount = find_mount(mountinfo, v2);
        if (mount) {
            cgroups_room(mount, field[2], v2, &room, who);
        }
    }
    return room;
}
