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

/* All from @dir up to @mount, below @root, where their hierarchy is mounted */
static void cgroups_room(const char *root, const char *mount, const char *dir,
                         bool v2, uint64_t *room, char **who)
{
    g_autofree char *at = g_strdup(dir);

    for (;;) {
        g_autofree char *path = g_build_filename(root, mount, at, NULL);
        char *up;

        cgroup_room(path, v2, room, who);
        if (g_str_equal(at, "/") || g_str_equal(at, ".")) {
            return;
        }
        up = g_path_get_dirname(at);
        g_free(at);
        at = up;
    }
}

/* What follows @dir in @path, from "/" on, or NULL if it is not below that */
static const char *below(const char *path, const char *dir)
{
    size_t len = g_str_equal(dir, "/") ? 0 : strlen(dir);

    if (strncmp(path, dir, len) || (path[len] && path[len] != '/')) {
        return NULL;
    }
    return path[len] ? path + len : "/";
}

/*
 * Where the hierarchy with the memory controller is mounted, or NULL; @dir is
 * set to the place of cgroup @path below that.  A container may see a part of
 * the hierarchy only, and have it mounted in more than one place.
 */
static char *find_mount(const char *mountinfo, const char *path, bool v2,
                        const char **dir)
{
    g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);

    for (char **line = lines; *line; line++) {
        /* id parent device root mount options [optional] - type source ... */
        g_auto(GStrv) field = g_strsplit(*line, " ", -1);
        const char *tail = strstr(*line, " - ");
        g_autofree char *top = NULL;
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
        /* Blanks and the like are in octal. */
        top = g_strcompress(field[3]);
        *dir = found ? below(path, top) : NULL;
        if (*dir) {
            return g_strcompress(field[4]);
        }
    }
    return NULL;
}

static char *read_below(const char *root, const char *path)
{
    g_autofree char *name = g_build_filename(root, path, NULL);
    char *text = NULL;

    g_file_get_contents(name, &text, NULL, NULL);
    return text;
}

uint64_t riscv_room_below(const char *root, char **who)
{
    g_autofree char *meminfo = read_below(root, "proc/meminfo");
    g_autofree char *cgroups = read_below(root, "proc/self/cgroup");
    g_autofree char *mountinfo = read_below(root, "proc/self/mountinfo");
    g_auto(GStrv) lines = g_strsplit(cgroups ?: "", "\n", -1);
    uint64_t room = meminfo ? keyed(meminfo, "MemAvailable") * KiB : UINT64_MAX;

    *who = g_strdup("the host");
    for (char **line = lines; *line; line++) {
        /* hierarchy:controllers:path, and of version 2 no controllers */
        g_auto(GStrv) field = g_strsplit(*line, ":", 3);
        g_auto(GStrv) controller = g_strsplit(field[0] ? field[1] ?: "" : "",
                                              ",", -1);
        bool v2 = g_str_equal(field[0] ?: "", "0");
        g_autofree char *mount = NULL;
        const char *dir;

        if (g_strv_length(field) < 3 ||
            (!v2 && !g_strv_contains((const char *const *)controller,
                                     "memory"))) {
            continue;
        }
        mount = find_mount(mountinfo ?: "", field[2], v2, &dir);
        if (mount) {
            cgroups_room(root, mount, dir, v2, &room, who);
        }
    }
    return room;
}

uint64_t riscv_room(char **who)
{
    return riscv_room_below("/", who);
}
