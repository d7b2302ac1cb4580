# SPDX-License-Identifier: GPL-2.0-or-later

BUILDDIR ?= build
export BUILDDIR
MAKEFLAGS += --no-print-directory
-include $(BUILDDIR)/config.mk

BUILDENV = scripts/buildenv run
CHECK = scripts/check --builddir=$(BUILDDIR)
SUITES = unit qtest kvm fleet cross-host soak

all: $(BUILDDIR)/config.mk FORCE
	@$(MAKE) $(BUILDS:%=build-%) build-guests

# configure itself finds out whether there is anything to do.
$(BUILDDIR)/config.mk: configure $(wildcard patches/*.patch patches/*/*.patch)
	./configure --builddir=$(BUILDDIR) $(CONFIGURE_ARGS)

build-guests: FORCE
	@$(BUILDENV) $(MAKE) -C tests/guests OUT=$(CURDIR)/$(BUILDDIR)/guests

build-riscv64: FORCE
	@$(BUILDENV) ninja -C $(BUILDDIR)/riscv64 qemu-system-riscv64 \
	    tests/qtest/riscv-aia-migration-test \
	    tests/unit/riscv-aia/test-riscv-aia-model \
	    tests/qtest/riscv-aia/riscv-aia-fault.so

build-native: FORCE
	@$(BUILDENV) ninja -C $(BUILDDIR)/native qemu-system-riscv64 \
	    tests/qtest/riscv-aia-migration-test \
	    tests/unit/riscv-aia/test-riscv-aia-state \
	    tests/unit/riscv-aia/test-riscv-aia-shape \
	    tests/unit/riscv-aia/test-riscv-aia-hart-config \
	    libio.a libqom.a libqemuutil.a
	@$(BUILDENV) $(MAKE) -C tests/fuzz QEMU=$(CURDIR)/$(BUILDDIR)/qemu \
	    NATIVE=$(CURDIR)/$(BUILDDIR)/native OUT=$(CURDIR)/$(BUILDDIR)/fuzz

demo: $(BUILDDIR)/config.mk build-riscv64
	@tests/lab/demo $(if $(STOCK),--stock)

lab: $(BUILDDIR)/config.mk build-riscv64 build-guests
	@tests/lab/host

soak: $(BUILDDIR)/config.mk build-riscv64
	@tests/lab/soak

check: all
	@$(CHECK) $(SUITES)

check-full: all
	@$(CHECK) --full $(if $(AGAIN),--again) $(SUITES)

$(SUITES:%=check-%): check-%: all
	@$(CHECK) $*

clean: FORCE
	rm -rf $(BUILDDIR) build-10.0 build-10.2

help:
	@echo "make              build the fork (runs ./configure where needed)"
	@echo "make demo         migrate a guest between two emulated hosts"
	@echo "make demo STOCK=1 the same with the unpatched QEMU, which fails"
	@echo "make lab          a shell in an emulated host"
	@echo "make soak         move a busy guest 50 times between two hosts"
	@echo "make check        all suites; each alone:" $(SUITES:%=check-%)
	@echo "make check-full   the same in their long forms, which takes hours"
	@echo "make clean        remove what was built; the cache stays"

FORCE:
.PHONY: all demo lab soak check check-full clean help FORCE
