# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# shellcheck disable=SC2154
#
# What configure and the scripts beside this file share.  Sourced, not run;
# the caller has set "top" to the checkout.

set -eu

cache=${QEMU_AIA_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/qemu-riscv-aia}
suite=trixie
# The same release by another name.  An archive that is being brought up to
# date has lists that do not belong together, but not under all names at once.
alias=stable

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "error: $*"
    exit 1
}

# What patches/series tells: the versions of QEMU that the fork is built on,
# the Debian suite of one, and the patches for one.
qemu_versions() {
    sed -n 's/^qemu \([^ ]*\).*/\1/p' "$top/patches/series" | paste -s -d ' '
}

qemu_suite() {
    awk -v v="$1" '$1 == "qemu" && $2 == v { print $3 }' "$top/patches/series"
}

patch_files() {
    awk -v v="$1" '
        function n(s, part) { split(s, part, "."); return part[1] * 1000 + part[2] }
        /\.patch/ && ($2 + 0 == 0 || n(v) >= n($2)) &&
        ($3 + 0 == 0 || n(v) <= n($3)) { print "patches/" $1 }
    ' "$top/patches/series"
}

# The version of the Debian source package that is unpacked in a directory.
debian_version() {
    sed -n '1s/^[^ ]* (\([^)]*\)).*/\1/p' "$1/debian/changelog"
}

# The architecture that this machine builds on.
host_arch() {
    dpkg --print-architecture 2>/dev/null ||
        die "this is not a Debian system (no dpkg); Debian 12 or 13 is needed"
}

# Runs a command as root: directly, or through a sudo that asks nothing.
# Returns 1 where neither is possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# Prints the address of the Debian archive that the machine's apt uses.
archive_site() {
    _site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' \
                'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1)
    if [ -z "$_site" ]; then
        as_root apt-get -q update >&2 ||
            die "apt has no package lists; run 'apt-get update' as root"
        _site=$(apt-get indextargets --format '$(SITE)' \
                    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
                head -n 1)
    fi
    [ -n "$_site" ] || die "apt knows no Debian archive; see sources.list(5)"
    printf '%s\n' "$_site"
}

# Takes a lock that this shell holds to its end.
#   hold_lock FILE WHAT-HAS-IT
hold_lock() {
    exec 9>"$1"
    flock -n 9 || { say "waiting for $2"; flock 9; }
}

# Runs the rest of the line while holding the lock of one item of the cache,
# so that two runs do not make it twice.
with_lock() {
    _name=$1
    shift
    mkdir -p "$cache" || die "cannot create the cache $cache"
    (
        hold_lock "$cache/.lock-$_name" "another run to make $_name"
        "$@"
    )
}

# The first 12 digits of the hash of standard input: a key in the cache.
hash_key() {
    sha256sum | cut -c 1-12
}

# Fails unless there is room for so many MiB below a directory.
#   need_space DIR MIB WHAT
need_space() {
    mkdir -p "$1" || die "cannot create $1"
    _free=$(df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$_free" -ge "$2" ] ||
        die "$3 takes $2 MiB, but the disk of $1 has only $_free MiB left"
}

# Makes the tar of a Debian root.
#   debian_tar FILE VARIANT ARCHITECTURES PACKAGES [OPTION...]
debian_tar() {
    _tar=$1
    _variant=$2
    _arches=$3
    _packages=$4
    shift 4
    if [ "$(id -u)" = 0 ]; then
        _mode=root
    else
        _mode=unshare
    fi
    _site=$(archive_site)
    # Its apt knows nothing of how the machine's is configured, as where an
    # archive is a copy of some day.
    _valid=$(apt-config shell v Acquire::Check-Valid-Until)
    _valid=$(eval "$_valid"; echo "${v:-true}")
    for _name in $suite $alias; do
        rm -f "$_tar"
        if mmdebstrap --variant="$_variant" --mode=$_mode \
            --architectures="$_arches" --include="$_packages" \
            --aptopt="Acquire::Check-Valid-Until \"$_valid\"" \
            --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' \
            --extract-hook="cat \"\$1\"/var/lib/apt/lists/*_InRelease |
                            grep -q '^Codename: $suite'" \
            "$@" "$_name" "$_tar" "deb $_site $_name main" >"$_tar.log" 2>&1
        then
            break
        fi
        tail -n 20 "$_tar.log" >&2
        grep -q 'Failed to fetch .*/dists/' "$_tar.log" ||
            die "mmdebstrap failed; its whole output is in $_tar.log"
        say "the package lists of Debian $_name cannot be had"
    done
    [ -s "$_tar" ] || die "no Debian $suite; is the network up?"
    rm "$_tar.log"
}

# Unpacks a Debian root into DIR.tmp, which the caller completes and renames.
#   debian_root DIR VARIANT ARCHITECTURES PACKAGES
debian_root() {
    _dir=$1
    shift
    rm -rf "$_dir" "$_dir.tmp"
    debian_tar "$_dir.tar" "$@"
    mkdir "$_dir.tmp"
    tar -x -f "$_dir.tar" -C "$_dir.tmp" --exclude='./dev/*' ||
        die "cannot unpack under $cache (is the disk full?)"
    rm -f "$_dir.tar"
}
