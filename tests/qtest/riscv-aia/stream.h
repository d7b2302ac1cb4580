/*
 * Migration streams, taken apart into their sections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_AIA_STREAM_H
#define RISCV_AIA_STREAM_H

/**
 * AIASection - one device's section, header and footer included, or a run of
 *     those of the memory, called "ram"
 * @data: offset of what the device wrote
 */
typedef struct AIASection {
    char *name;
    uint32_t instance;
    size_t start;
    size_t data;
    size_t end;
} AIASection;

/**
 * AIAStream - a stream in memory, of which everything may be changed
 * @head: end of header and configuration
 * @sections: in the order in which they are to be written
 * @tail: end of the sections
 */
typedef struct AIAStream {
    uint8_t *bytes;
    size_t len;
    size_t head;
    size_t tail;
    unsigned num;
    AIASection *sections;
} AIAStream;

AIAStream *aia_stream_read(const char *file);
AIAStream *aia_stream_copy(const AIAStream *s);
void aia_stream_free(AIAStream *s);

/* With or without the RAM. */
void aia_stream_write(const AIAStream *s, const char *file, bool ram);

/* The @nth section of that name, from 0; there must be one. */
AIASection *aia_stream_find(const AIAStream *s, const char *name,
                            unsigned nth);

/* Offset of the data of a subsection within a section; there must be one. */
size_t aia_stream_subsection(const AIAStream *s, const AIASection *section,
                             const char *name);

#endif
