#!/bin/sh
# Follow the README, or install the Debian package, in a Debian 12 that has nothing else:
#
#   sh tests/clean_root/clean_root.sh readme        README's first command, as a user with sudo, then as root
#   sh tests/clean_root/clean_root.sh readme --all  every command of README, as a user with sudo
#   sh tests/clean_root/clean_root.sh deb FILE.deb  the package: an audit on two ranks, a report and the manual, as a user
#
# Needs root, debootstrap, Debian's archive, and leave to mount and chroot; exit code 77 (skipped), saying why, where one is
# missing. All that needs the archive is fetched first, in a given time, so that no network holds it up. WALKAUDIT_ROOT keeps
# the bare root between calls. What is followed is what is committed: `git archive HEAD`.
set -eu
cd "$(dirname "$0")/../.."

skip() {
    echo "clean_root: skipped: $1" >&2
    exit 77
}

usage() {
    sed -n '4,6s/^#   //p' "$0" >&2
    exit 2
}

what=${1-}
option=${2-}
case $what,$option in
readme, | readme,--all) ;;
deb,?*) [ -f "$option" ] || skip "there is no package '$option'; cmake --build build/release --target package makes it" ;;
*) usage ;;
esac
[ "$(id -u)" -eq 0 ] || skip "not root"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"

archive=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 2>/dev/null | head -n 1)
archive=${archive:-http://deb.debian.org/debian}
work=$(mktemp -d)
bare=${WALKAUDIT_ROOT:-$work/bare}
root=$work/root

clean() {
    umount "$root/dev/shm" "$root/sys" "$root/proc" "$work/new/sys" "$work/new/proc" 2>/dev/null || true
    if grep -q " $work/" /proc/mounts; then
        echo "clean_root: '$work' has mounts still; left as it is" >&2
    else
        rm -rf "$work"
    fi
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

say() {
    echo "clean_root: $(date +%T) $*"
}

say() {
    echo "clean_root: $(date +%T): $*"
}

# What needs the archive; without it the rest is skipped.
fetch() {
    "$@" >"$work/log" 2>&1 || {
        tail -n 3 "$work/log" >&2
        skip "no answer from Debian's archive, or not in time: $*"
    }
}

if [ ! -d "$bare" ]; then
    say "debootstrap from $archive"
    # dpkg need not wait for the disk: a root that a crash of the machine damages is made again.
    mkdir -p "$work/new/etc/dpkg/dpkg.cfg.d"
    echo force-unsafe-io >"$work/new/etc/dpkg/dpkg.cfg.d/quick"
    fetch timeout 600 debootstrap --variant=minbase bookworm "$work/new" "$archive"
    mv "$work/new" "$bare"
fi
cp -a "$bare" "$root"
mkdir -p "$root/dev/shm"
{
    mount -t proc proc "$root/proc" && mount -t sysfs -o ro sysfs "$root/sys" &&
        mount -t tmpfs tmpfs "$root/dev/shm" # what ranks share
} || skip "nothing can be mounted here"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    [ ! -f "$file" ] || cp -L "$file" "$root$file"
done

inside() {
    chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}

as_user() {
    inside su - somebody -c "$1"
}

fetch inside timeout 120 apt-get -qq update
inside useradd --create-home --shell /bin/bash somebody

# README's commands, in order: lines of its blocks ```sh, comments aside. Its second line runs all tests.
commands() {
    sed -n '/^```sh$/,/^```$/p' README.md | grep -v '^```' | sed 's/  *#.*//' | grep -v '^ *$'
}

follow() { # user or root, then the commands
    mkdir -p "$root/$1"
    git archive HEAD | tar -x -C "$root/$1"
    inside chown -R "$2" "/$1"
    printf '%s\n' "$3" | while IFS= read -r line; do
        say "as $2: $line"
        inside su - "$2" -c "cd /$1 && $line" </dev/null || {
            echo "clean_root: README's command failed as $2: $line" >&2
            exit 1
        }
    done
}

case $what in
readme)
    packages=$(sed -n '/^packages="/,/"$/p' setup.sh | sed 's/^packages=//' | tr -d '"')
    say "fetching what setup.sh installs"
    fetch inside timeout 600 apt-get -qq install --download-only --yes --no-install-recommends sudo $packages
    inside apt-get -qq install --yes --no-install-recommends sudo >/dev/null
    echo 'somebody ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/somebody"
    if [ "$option" = --all ]; then
        follow home/somebody/walkaudit somebody "$(commands)"
    else
        follow home/somebody/walkaudit somebody "$(commands | head -n 1)"
        follow root/walkaudit root "$(commands | head -n 1)"
    fi
    ;;
deb)
    cp "$option" "$root/walkaudit.deb"
    say "fetching what the package needs"
    fetch inside timeout 600 apt-get -qq install --download-only --yes /walkaudit.deb
    say "installing it"
    inside apt-get -qq install --yes /walkaudit.deb >/dev/null
    as_user 'walkaudit --version'
    as_user 'walkaudit synth model --family llama --shape tiny --seed 1'
    as_user 'walkaudit extract model model.vindex --format q4k'
    as_user 'printf "audits:\n  - model: model\n    vindexes:\n      - {name: q4k, path: model.vindex}\n" >job.yaml'
    as_user 'walkaudit run -n 2 job.yaml'
    as_user 'walkaudit verdict results/job-model.h5 >/dev/null'
    as_user 'walkaudit-report report results/job-model.h5 -o results'
    as_user 'grep -q "<html" results/job-model.html && grep -q "q4k:sparse" results/job-model.md'
    ;;
esac
say "$what: done"
