# SPDX-License-Identifier: GPL-2.0-or-later
#
# One package of those that debian/rules makes, and of its build what is in
# that package.  Run by scripts/deb, where debian/ is.

# There is no package for what is for debuggers, and a build without it takes
# less time and space.
export DEB_CFLAGS_MAINT_STRIP := -g
# The source is elsewhere; its path is to be the same in all builds.
override DEB_CFLAGS_MAINT_APPEND := -ffile-prefix-map=${aia-source}/=
include debian/rules

package := qemu-system-riscv
programs := $(addprefix qemu-system-,${system-archlist-riscv})

# The hook that debian/rules has for more options
QEMU_CONFIGURE_OPTIONS := --disable-debug-info \
    --target-list="$(addsuffix -softmmu,${system-archlist-riscv})"

aia-configure: configure-qemu

aia-build: b/qemu/configured
	${NINJA} -C b/qemu ${programs}

# The steps of install-arch and binary-helper, in their order.
# Whatever names a version names Debian's: the other packages, whose modules
# this QEMU loads, stay Debian's.
aia-package:
	dh_testroot
	dh_prep -p${package}
	dh_installdirs -p${package}
	rm -rf debian/tmp
	install -D -t debian/tmp/usr/bin $(addprefix b/qemu/,${programs})
	$(call install-system,${package},${system-archlist-riscv},$(filter \
	    ${DEB_HOST_ARCH_CPU},${system-archlist-riscv}))
	dh_installdocs -p${package}
	dh_installchangelogs -p${package}
	dh_installman -p${package}
	dh_link -p${package}
	dh_lintian -p${package}
	dh_strip_nondeterminism -p${package}
	dh_compress -p${package}
	dh_fixperms -p${package}
	dh_dwz -p${package}
	dh_strip -p${package}
	dh_shlibdeps -p${package}
	dh_installdeb -p${package}
	dh_gencontrol -p${package} -- -DVersion=${aia-version} \
	    -DOrigin=qemu-riscv-aia
	dh_md5sums -p${package}
	dh_builddeb -p${package} --destdir=..

.PHONY: aia-configure aia-build aia-package
