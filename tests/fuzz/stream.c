/*
 * Loading by libFuzzer: streams
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "aia-load.h"
#include "../migration/savevm.h"
#include "qapi/error.h"
#include "qemu/error-report.h"

#define FOOTER          QEMU_VM_SECTION_FOOTER

unsigned int num_messages;

/* In place of libqemuutil's, which would print very many. */
int error_vprintf(const char *fmt, va_list ap)
{
    num_messages++;
    return vsnprintf(NULL, 0, fmt, ap);
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

QEMUFile *open_file(QIOChannelBuffer **buffer, const Input *in)
{
    QEMUFile *f;

    *buffer = qio_channel_buffer_new(in ? in->size : 0);
    if (in) {
        memcpy((*buffer)->data, in->data, in->size);
        (*buffer)->usage = in->size;
    }
    f = in ? qemu_file_new_input(QIO_CHANNEL(*buffer))
           : qemu_file_new_output(QIO_CHANNEL(*buffer));
    object_unref(OBJECT(*buffer));
    return f;
}

bool load_state(QEMUFile *f, const VMStateDescription *vmsd, void *opaque)
{
    Error *err = NULL;
    int ret = load_vmstate(f, vmsd, opaque, &err);

    num_messages += err != NULL;
    error_free(err);
    return ret == 0;
}

/* What is left of the input begins with @vmsd, which saves it the same. */
static void take_saved(Input *in, const VMStateDescription *vmsd, void *opaque)
{
    QIOChannelBuffer *buffer;
    QEMUFile *f = open_file(&buffer, NULL);

    save_vmstate(f, vmsd, opaque);
    g_assert_cmpuint(buffer->usage, <, in->size);
    g_assert(!memcmp(buffer->data, in->data, buffer->usage));
    in->data += buffer->usage + 1;
    in->size -= buffer->usage + 1;
    qemu_fclose(f);
}

bool read_section(QEMUFile *f, Input *in, const VMStateDescription *vmsd,
                  void *opaque)
{
    if (!load_state(f, vmsd, opaque) || qemu_get_byte(f) != FOOTER) {
        return false;
    }
    if (in) {
        take_saved(in, vmsd, opaque);
    }
    return true;
}

void pass_state(const VMStateDescription *vmsd, void *from, void *to)
{
    QIOChannelBuffer *buffer;
    QEMUFile *f = open_file(&buffer, NULL);
    g_autofree uint8_t *data = NULL;
    Input in;

    save_vmstate(f, vmsd, from);
    data = g_memdup2(buffer->data, buffer->usage);
    in = (Input) { data, buffer->usage };
    qemu_fclose(f);
    f = open_file(&buffer, &in);
    g_assert(load_state(f, vmsd, to));
    qemu_fclose(f);
}
