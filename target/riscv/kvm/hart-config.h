/*
 * What the CPU of a guest is: the registers that configure a vCPU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Nothing here calls KVM; of it only the numbers of registers are known, as
 * in its linux/kvm.h for RISC-V.
 */

#ifndef RISCV_KVM_HART_CONFIG_H
#define RISCV_KVM_HART_CONFIG_H

/* More than a kernel will ever list; bounds what a stream may claim. */
#define RISCV_HART_CONFIG_MAX 4096

/* The value of a register of class ISA_EXT or SBI_EXT */
#define RISCV_EXT_ON   1 /* the kernel lets the guest use it */
#define RISCV_EXT_TOLD 2 /* the guest was told of it when it booted */

/**
 * struct RISCVHartConfig - registers that configure a vCPU, sorted by id
 *
 * @id: of class CONFIG, ISA_EXT or SBI_EXT, or vlenb
 * @value: the register's, of an extension RISCV_EXT_*
 */
typedef struct RISCVHartConfig {
    uint32_t num;
    uint64_t *id;
    uint64_t *value;
} RISCVHartConfig;

/**
 * struct RISCVHartConfigHost - what a destination is asked about itself
 *
 * @config: of its own vCPUs
 * @cpu_has: whether the CPUs have an extension, by its name, whatever the
 *     kernel knows of it
 * @has_property: whether "-cpu host" takes the property of that name
 * @switch_off: takes an extension from all vCPUs, which have not run.  Returns
 *     false where the kernel does not.
 */
typedef struct RISCVHartConfigHost {
    const RISCVHartConfig *config;
    bool (*cpu_has)(const char *name);
    bool (*has_property)(const char *name);
    bool (*switch_off)(uint64_t id);
} RISCVHartConfigHost;

/* Whether a register belongs into a RISCVHartConfig. */
bool riscv_hart_config_has_class(uint64_t id);

/* Whether a register is of an extension, so that its value is RISCV_EXT_*. */
bool riscv_hart_config_is_ext(uint64_t id);

/*
 * The name of an extension or register as users know it, "zbb"; NULL where the
 * tables do not have it.
 */
const char *riscv_hart_config_name(uint64_t id);

void riscv_hart_config_alloc(RISCVHartConfig *config, uint32_t num);
void riscv_hart_config_free(RISCVHartConfig *config);

/* Finds the value of a register; false where it is not in the list. */
bool riscv_hart_config_get(const RISCVHartConfig *config, uint64_t id,
                          uint64_t *value);

/* Whether a list that came with a stream can be one; else sets @errp. */
bool riscv_hart_config_check(const RISCVHartConfig *config, Error **errp);

/**
 * riscv_hart_config_compare - whether a guest's CPU can go on on another host
 * @source: what the guest found when it booted, checked
 * @all: gets every difference that matters, separated by "; "
 * @advice: gets the properties of the "-cpu host" that both hosts can run,
 *     each with a comma before it
 * @rest: gets the names of what no property makes up for, separated by ", "
 *
 * Switches off what only the destination has and would be noticed.  By the
 * tables of this file, which docs/compatibility.md tells.
 */
void riscv_hart_config_compare(const RISCVHartConfig *source,
                              const RISCVHartConfigHost *host, GString *all,
                              GString *advice, GString *rest);

/**
 * riscv_hart_config_take - make the CPU that came with a guest the guest's own
 * @config: what is told of the guest from then on
 * @source: what has come, and fits
 * @host: what the vCPUs have
 *
 * A guest looks at its CPU when it boots, so what it was told then goes with
 * it to the next host, not what this one would have told it.
 */
void riscv_hart_config_take(RISCVHartConfig *config,
                           const RISCVHartConfig *source,
                           const RISCVHartConfig *host);

/* The name of a value of satp.MODE, as in "-cpu host,sv57=off". */
const char *riscv_satp_mode_name(uint64_t mode);

#endif
