/*
 * State of an in-kernel AIA: what is sent of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "io/channel-buffer.h"
#include "stream.h"
#include "test-state.h"

/* What follows a section */
#define FOOTER 0x7e

/* As of docs/wire-format.md: what is in front of the arrays of sources */
#define SENT_SOURCES(words) (12 + 3 * 4 * (words) + 4)

static GByteArray *write_state(const VMStateDescription *vmsd, void *opaque)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(0);
    QEMUFile *f = qemu_file_new_output(QIO_CHANNEL(buffer));
    GByteArray *data = g_byte_array_new();

    save_vmstate(f, vmsd, opaque);
    g_byte_array_append(data, buffer->data, buffer->usage);
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
    return data;
}

/* Whether it is taken; then all of it is, and no more. */
static bool read_state(const VMStateDescription *vmsd, void *opaque,
                       const GByteArray *data)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(data->len + 1);
    Error *err = NULL;
    QEMUFile *f;
    int ret;

    memcpy(buffer->data, data->data, data->len);
    buffer->data[data->len] = FOOTER;
    buffer->usage = data->len + 1;
    f = qemu_file_new_input(QIO_CHANNEL(buffer));
    ret = load_vmstate(f, vmsd, opaque, &err);
    error_free(err);
    g_assert(ret || qemu_get_byte(f) == FOOTER);
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
    return ret == 0;
}

/* What a destination has of it; returns how many bytes were sent. */
static size_t pass(const VMStateDescription *vmsd, void *source, void *dest)
{
    g_autoptr(GByteArray) data = write_state(vmsd, source);

    g_assert(read_state(vmsd, dest, data));
    return data->len;
}

static void fill(uint32_t *words, uint32_t num)
{
    memset(words, 0xa5, num * sizeof(*words));
}

size_t pass_aplic(RISCVAPLICRegs *regs)
{
    RISCVAPLICRegs to;
    size_t bytes;

    riscv_aplic_regs_init(&to, regs->num_sources);
    fill(to.sourcecfg, to.num_sources);
    fill(to.target, to.num_sources);
    bytes = pass(&vmstate_riscv_aplic_regs, regs, &to);
    riscv_aplic_regs_free(regs);
    *regs = to;
    return bytes;
}

size_t pass_imsic(RISCVIMSICRegs *regs)
{
    RISCVIMSICRegs to;
    size_t bytes;

    riscv_imsic_regs_init(&to, regs->num_words * 32 - 1);
    fill(to.eip, to.num_words);
    fill(to.eie, to.num_words);
    bytes = pass(&vmstate_riscv_imsic_regs, regs, &to);
    riscv_imsic_regs_free(regs);
    *regs = to;
    return bytes;
}

/* As a boot of Linux leaves it, with @num sources in use */
static void like_linux(RISCVAPLICRegs *regs, uint32_t num)
{
    for (uint32_t i = 0; i < regs->num_sources; i++) {
        regs->target[i] = 1;
    }
    for (uint32_t i = 0; i < num; i++) {
        regs->sourcecfg[i] = AIA_SM_LEVEL_HIGH;
        regs->target[i] = TO(i % 4, 10 + i);
    }
}

static void test_aplic(void)
{
    static const uint32_t sources[] = { 1, 31, 32, 96, 1023 };

    for (size_t n = 0; n < ARRAY_SIZE(sources); n++) {
        uint32_t num = sources[n], words = DIV_ROUND_UP(num + 1, 32);
        RISCVAPLICRegs regs;
        size_t bytes;

        riscv_aplic_regs_init(&regs, num);
        g_assert_cmpuint(pass_aplic(&regs), ==,
                         SENT_SOURCES(words) + 4 * words + 4);
        for (uint32_t i = 0; i < num; i++) {
            g_assert_cmphex(regs.sourcecfg[i] | regs.target[i], ==, 0);
        }

        /* All that each can have */
        for (uint32_t i = 0; i < num; i++) {
            regs.sourcecfg[i] = i % 8;
            regs.target[i] = TO(i, num - i);
        }
        bytes = pass_aplic(&regs);
        g_assert_cmpuint(bytes, <=,
                         SENT_SOURCES(words) + 4 * words + 4 + 5 * num);
        /* Version 1 had all modes and targets in words. */
        g_assert(num < 31 || bytes <= 12 + 4 * (2 * num + 3 * words));
        for (uint32_t i = 0; i < num; i++) {
            g_assert_cmphex(regs.sourcecfg[i], ==, i % 8);
            g_assert_cmphex(regs.target[i], ==, TO(i, num - i));
        }
        riscv_aplic_regs_free(&regs);
    }
}

static void test_linux(void)
{
    RISCVAPLICRegs regs;

    riscv_aplic_regs_init(&regs, 96);
    like_linux(&regs, 12);
    g_assert_cmpuint(pass_aplic(&regs), ==,
                     SENT_SOURCES(4) + 4 * 4 + 4 + 12 * 5);
    for (uint32_t i = 0; i < 96; i++) {
        g_assert_cmphex(regs.sourcecfg[i], ==, i < 12 ? AIA_SM_LEVEL_HIGH : 0);
        g_assert_cmphex(regs.target[i], ==, i < 12 ? TO(i % 4, 10 + i) : 1);
    }
    riscv_aplic_regs_free(&regs);
}

static void refuse_aplic(RISCVAPLICRegs *regs, size_t offset, uint32_t xor)
{
    g_autoptr(GByteArray) data = write_state(&vmstate_riscv_aplic_regs, regs);
    RISCVAPLICRegs to;

    stl_be_p(data->data + offset, ldl_be_p(data->data + offset) ^ xor);
    riscv_aplic_regs_init(&to, regs->num_sources);
    g_assert(!read_state(&vmstate_riscv_aplic_regs, &to, data));
    riscv_aplic_regs_free(&to);
}

/* A number of sources that does not fit, and sources that there are not */
static void test_aplic_refused(void)
{
    size_t sources = SENT_SOURCES(4), num = sources + 4 * 4;
    RISCVAPLICRegs regs;

    riscv_aplic_regs_init(&regs, 96);
    like_linux(&regs, 12);
    refuse_aplic(&regs, num, 1);
    refuse_aplic(&regs, num, BIT(31));
    refuse_aplic(&regs, sources, 1);
    refuse_aplic(&regs, sources, 2);
    refuse_aplic(&regs, sources + 3 * 4, 2);
    riscv_aplic_regs_free(&regs);

    /* As many bits as sources, but one of them is of no source */
    riscv_aplic_regs_init(&regs, 96);
    like_linux(&regs, 1);
    refuse_aplic(&regs, sources, 3);
    riscv_aplic_regs_free(&regs);
}

static void test_imsic(void)
{
    static const uint32_t ids[] = { 63, 255, 2047 };

    for (size_t n = 0; n < ARRAY_SIZE(ids); n++) {
        uint32_t words = (ids[n] + 1) / 32;
        RISCVIMSICRegs regs;

        riscv_imsic_regs_init(&regs, ids[n]);
        regs.eidelivery = 1;
        regs.eithreshold = 5;
        g_assert_cmpuint(pass_imsic(&regs), ==, 12);
        g_assert_cmpuint(regs.eidelivery, ==, 1);
        g_assert_cmpuint(regs.eithreshold, ==, 5);
        for (uint32_t w = 0; w < words; w++) {
            RISCVIMSICRegs more;

            g_assert_cmphex(regs.eip[w] | regs.eie[w], ==, 0);
            riscv_imsic_regs_init(&more, ids[n]);
            *(w % 2 ? &more.eip[w] : &more.eie[w]) = BIT(w % 32) | BIT(31);
            g_assert_cmpuint(pass_imsic(&more), ==, 12 + 8 * (w + 1));
            for (uint32_t v = 0; v < words; v++) {
                uint32_t expected = v == w ? BIT(w % 32) | BIT(31) : 0;

                g_assert_cmphex(more.eip[v], ==, w % 2 ? expected : 0);
                g_assert_cmphex(more.eie[v], ==, w % 2 ? 0 : expected);
            }
            riscv_imsic_regs_free(&more);
        }
        riscv_imsic_regs_free(&regs);
    }
}

static void test_imsic_refused(void)
{
    g_autoptr(GByteArray) data = NULL;
    RISCVIMSICRegs regs;

    riscv_imsic_regs_init(&regs, 255);
    data = write_state(&vmstate_riscv_imsic_regs, &regs);
    stl_be_p(data->data + 8, 9);
    g_assert(!read_state(&vmstate_riscv_imsic_regs, &regs, data));
    riscv_imsic_regs_free(&regs);
}

void add_stream_tests(void)
{
    g_test_add_func("/riscv-aia/state/stream/aplic", test_aplic);
    g_test_add_func("/riscv-aia/state/stream/linux", test_linux);
    g_test_add_func("/riscv-aia/state/stream/aplic-refused",
                    test_aplic_refused);
    g_test_add_func("/riscv-aia/state/stream/imsic", test_imsic);
    g_test_add_func("/riscv-aia/state/stream/imsic-refused",
                    test_imsic_refused);
}
