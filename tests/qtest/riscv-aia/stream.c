/*
 * Migration streams, taken apart into their sections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A section begins with a type, an id, a counted name, instance and version,
 * and ends with a mark and its id again.  How long it is in between is told
 * nowhere; but the stream ends with a description in JSON, which lists the
 * devices in their order.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "libqtest.h"
#include "stream.h"

/* Of migration/savevm.h, which is none of the tests' */
#define TYPE_EOF            0x00
#define TYPE_FULL           0x04
#define TYPE_SUBSECTION     0x05
#define TYPE_DESCRIPTION    0x06
#define TYPE_FOOTER         0x7e
#define FOOTER_LEN          5

static size_t find(const AIAStream *s, size_t from, const GString *what)
{
    const uint8_t *p = memmem(s->bytes + from, s->len - from, what->str,
                              what->len);

    g_assert_nonnull(p);
    return p - s->bytes;
}

static void append_be32(GString *str, uint32_t value)
{
    value = cpu_to_be32(value);
    g_string_append_len(str, (char *)&value, sizeof(value));
}

/* Type and id precede what is found: a counted name and an instance. */
static size_t find_header(const AIAStream *s, size_t from, uint8_t type,
                          const char *name, uint32_t instance)
{
    g_autoptr(GString) header = g_string_new(NULL);
    size_t at = from;

    g_string_append_c(header, strlen(name));
    g_string_append(header, name);
    append_be32(header, instance);
    do {
        at = find(s, at + 1, header);
    } while (s->bytes[at - 5] != type);
    return at - 5;
}

/* The description is the last that there is, with its length before it. */
static QDict *description(AIAStream *s)
{
    size_t at = s->len - 5;
    g_autofree char *json = NULL;
    QDict *dict;

    while (s->bytes[at] != TYPE_DESCRIPTION ||
           ldl_be_p(s->bytes + at + 1) != s->len - at - 5) {
        g_assert_cmpuint(--at, >, 0);
    }
    s->tail = at - 1;
    g_assert_cmpuint(s->bytes[s->tail], ==, TYPE_EOF);
    json = g_strndup((char *)s->bytes + at + 5, s->len - at - 5);
    dict = qobject_to(QDict, qobject_from_json(json, NULL));
    g_assert_nonnull(dict);
    return dict;
}

static AIASection *add_section(AIAStream *s, const char *name,
                               uint32_t instance)
{
    AIASection *section;

    s->sections = g_renew(AIASection, s->sections, s->num + 1);
    section = &s->sections[s->num++];
    section->name = g_strdup(name);
    section->instance = instance;
    return section;
}

/* What is between the devices' sections is the memory's. */
static void add_ram(AIAStream *s, size_t start, size_t end)
{
    AIASection *section = add_section(s, "ram", 0);

    section->start = section->data = start;
    section->end = end;
}

static void add_device(AIAStream *s, size_t from, const char *name,
                       uint32_t instance)
{
    size_t start = find_header(s, from, TYPE_FULL, name, instance);
    g_autoptr(GString) footer = g_string_new(NULL);
    AIASection *section;

    if (start != from) {
        add_ram(s, from, start);
    }
    section = add_section(s, name, instance);
    section->start = start;
    section->data = start + 5 + 1 + strlen(name) + 8;
    g_string_append_c(footer, TYPE_FOOTER);
    g_string_append_len(footer, (char *)s->bytes + start + 1, 4);
    section->end = find(s, section->data, footer) + FOOTER_LEN;
}

AIAStream *aia_stream_read(const char *file)
{
    AIAStream *s = g_new0(AIAStream, 1);
    gsize len;
    QDict *desc;
    QListEntry *entry;
    size_t from;

    g_assert_true(g_file_get_contents(file, (char **)&s->bytes, &len, NULL));
    s->len = len;
    desc = description(s);
    s->head = from = find_header(s, 8, TYPE_FULL, "riscv_aia_shape", 0);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(desc, "devices"), entry) {
        QDict *device = qobject_to(QDict, qlist_entry_obj(entry));

        add_device(s, from, qdict_get_str(device, "name"),
                   qdict_get_int(device, "instance_id"));
        from = s->sections[s->num - 1].end;
    }
    qobject_unref(desc);
    g_assert_cmpuint(from, ==, s->tail);
    /* The shape even before the memory is set up */
    g_assert_cmpstr(s->sections[0].name, ==, "riscv_aia_shape");
    g_assert_cmpstr(s->sections[1].name, ==, "ram");
    return s;
}

AIAStream *aia_stream_copy(const AIAStream *s)
{
    AIAStream *copy = g_memdup2(s, sizeof(*s));

    copy->bytes = g_memdup2(s->bytes, s->len);
    copy->sections = g_memdup2(s->sections, s->num * sizeof(*s->sections));
    for (unsigned i = 0; i < s->num; i++) {
        copy->sections[i].name = g_strdup(s->sections[i].name);
    }
    return copy;
}

void aia_stream_free(AIAStream *s)
{
    for (unsigned i = 0; i < s->num; i++) {
        g_free(s->sections[i].name);
    }
    g_free(s->sections);
    g_free(s->bytes);
    g_free(s);
}

static void append(GString *out, const AIAStream *s, size_t from, size_t to)
{
    g_string_append_len(out, (char *)s->bytes + from, to - from);
}

void aia_stream_write(const AIAStream *s, const char *file, bool ram)
{
    g_autoptr(GString) out = g_string_new(NULL);

    append(out, s, 0, s->head);
    for (unsigned i = 0; i < s->num; i++) {
        const AIASection *a = &s->sections[i];

        if (ram || !g_str_equal(a->name, "ram")) {
            append(out, s, a->start, a->end);
        }
    }
    append(out, s, s->tail, s->len);
    g_assert_true(g_file_set_contents(file, out->str, out->len, NULL));
}

AIASection *aia_stream_find(const AIAStream *s, const char *name,
                            unsigned nth)
{
    for (unsigned i = 0; i < s->num; i++) {
        if (g_str_equal(s->sections[i].name, name) && nth-- == 0) {
            return &s->sections[i];
        }
    }
    g_assert_not_reached();
}

size_t aia_stream_subsection(const AIAStream *s, const AIASection *section,
                             const char *name)
{
    g_autoptr(GString) header = g_string_new(NULL);
    size_t at;

    g_string_append_c(header, TYPE_SUBSECTION);
    g_string_append_c(header, strlen(name));
    g_string_append(header, name);
    at = find(s, section->data, header) + header->len + 4;
    g_assert_cmpuint(at, <, section->end);
    return at;
}
