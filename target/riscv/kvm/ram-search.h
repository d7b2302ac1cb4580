/*
 * A word that KVM has written somewhere into the guest's RAM, found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_RAM_SEARCH_H
#define RISCV_KVM_RAM_SEARCH_H

/* Whether it is memory that QEMU may read: no ROM, and no device's. */
bool kvm_riscv_ram_is_plain(uint64_t gpa, uint64_t size);

/**
 * kvm_riscv_ram_find_words - find words that KVM has just written
 * @unit: bytes, a power of 2 up to a page of the host
 * @offset: of the word in its unit, bytes
 * @first, @num: values, little-endian, so many from the first on
 * @gpa: for each value, gets the guest physical address of the last unit that
 *     has it; left alone where none has
 *
 * With the BQL held, the guest not running.  While dirty pages are logged only
 * pages in KVM's log are looked at, and the log is left as it is.
 */
void kvm_riscv_ram_find_words(uint64_t unit, uint64_t offset, uint64_t first,
                              unsigned num, uint64_t *gpa);

#endif
