# SPDX-License-Identifier: GPL-2.0-or-later

BUILDDIR ?= build
export BUILDDIR
MAKEFLAGS += --no-print-directory
-include $(BUILDDIR)/config.mk

BUILDENV = scripts/buildenv run
CHECK = scripts/check --builddir=$(BUILDDIR)
# What is built outside QEMU, and the tests
TESTS = $(BUILDDIR)/tests/build.ninja

all: $(BUILDDIR)/config.mk FORCE
	@$(MAKE) $(BUILDS:%=build-%) build-guests

# configure itself finds out whether there is anything to do.
$(BUILDDIR)/config.mk: configure patches/series $(wildcard patches/*.patch)
	./configure --builddir=$(BUILDDIR) $(CONFIGURE_ARGS)

$(TESTS):
	@$(BUILDENV) meson setup $(BUILDDIR)/tests >/dev/null

build-guests: $(TESTS) FORCE
	@$(BUILDENV) ninja --quiet -C $(BUILDDIR)/tests guests

build-riscv64: FORCE
	@$(BUILDENV) ninja -C $(BUILDDIR)/riscv64 qemu-system-riscv64 \
	    tests/qtest/riscv-aia-migration-test \
	    tests/qtest/migration-test \
	    tests/unit/riscv-aia/test-riscv-aia-model \
	    tests/qtest/riscv-aia/riscv-aia-fault.so

build-native: $(TESTS) FORCE
	@$(BUILDENV) ninja -C $(BUILDDIR)/native qemu-system-riscv64 \
	    tests/qtest/riscv-aia-migration-test \
	    tests/qtest/migration-test \
	    tests/unit/riscv-aia/test-riscv-aia-state \
	    tests/unit/riscv-aia/test-riscv-aia-room \
	    tests/unit/riscv-aia/test-riscv-aia-shape \
	    tests/unit/riscv-aia/test-riscv-aia-hart-config \
	    libio.a libqom.a libqemuutil.a
	@$(BUILDENV) ninja --quiet -C $(BUILDDIR)/tests fuzz

# For check-fleet: the fork on another version of QEMU
build-other: all
	@scripts/build-other

# Debian's package with the fork in it, in a build of its own
deb: $(BUILDDIR)/config.mk
	@scripts/deb $(N)

series: $(BUILDDIR)/config.mk
	@scripts/series $(if $(CHECK),--check) $(QEMU)

demo: $(BUILDDIR)/config.mk build-riscv64
	@tests/lab/demo $(if $(STOCK),--stock)

lab: $(BUILDDIR)/config.mk build-riscv64 build-guests
	@tests/lab/host

soak: $(BUILDDIR)/config.mk build-riscv64
	@tests/lab/soak

bench: $(BUILDDIR)/config.mk build-riscv64 build-guests
	@tests/lab/bench

check: all build-other
	@$(CHECK)

# A package that cannot be made is a failure of its test.
check-full: all build-other
	-@scripts/deb $(N)
	@$(CHECK) --full $(if $(AGAIN),--again)

# In a build of its own, BUILDDIR-coverage
coverage: all
	@$(CHECK) --full --test coverage

check-fleet: build-other

check-%: all FORCE
	@$(CHECK) $*

clean: FORCE
	rm -rf $(BUILDDIR) $(BUILDDIR)-coverage build-1[0-9].[0-9]

help:
	@echo "make              build the fork (runs ./configure where needed)"
	@echo "make deb          a package for Debian 13 on riscv64"
	@echo "make series       patches for qemu-devel; QEMU=DIR: for that tree,"
	@echo "                  CHECK=1: build and test each (about an hour)"
	@echo "make demo         migrate a guest between two emulated hosts"
	@echo "make demo STOCK=1 the same with the unpatched QEMU, which fails"
	@echo "make lab          a shell in an emulated host"
	@echo "make soak         move a busy guest 50 times between two hosts"
	@echo "make bench        what a save and a load cost; BASE=REV: beside REV"
	@echo "make check        all suites; check-SUITE runs one of them:"
	@sed -n '/^suites/,/^]/s/^    "/                  "/p' tests/matrix.toml
	@echo "make check-full   the same in their long forms, which takes hours"
	@echo "make coverage     which lines of the fork the tests run (an hour)"
	@echo "make clean        remove what was built; the cache stays"

FORCE:
.PHONY: all build-other deb series demo lab soak bench check check-full coverage \
    clean help FORCE
