#!/usr/bin/env bash
# Runs tests on an emulated CPU that has a level; see README.md beside this file.
#
#   tests/emulate/x86.sh [cargo test selection] [-- libtest arguments]
#
# Without arguments: every test of qconfig-kernels.
set -euo pipefail
cd "$(dirname "$0")/../.."

level=${EMULATE_LEVEL:-avx512vnni}         # what QCONFIG_ISA is set to
case $level in                             # a CPU that has it and little more; how Linux calls it
    avx512vnni) model=corei7_icelake_u flag=avx512_vnni ;;
    avx512bw) model=corei7_skylake_x flag=avx512bw ;;
    avxvnni) model=arrow_lake flag=avx_vnni ;;
    *) model=corei7_haswell_4770 flag=avx2 ;;
esac
model=${EMULATE_CPU:-$model}
bochs=${BOCHS:-bochs}                      # Bochs 2.7 or newer with EVEX; 3.0 for avxvnni
share=${BOCHS_SHARE:-/usr/share/bochs}     # its BIOS images
limit=${EMULATE_SECONDS:-7200}             # the longest a run may take
: "${QCONFIG_CASES:=40}"                   # random cases a test, at most
kernel=${EMULATE_KERNEL:-$(find /boot -name 'vmlinuz-*-cloud-amd64' | sort -V | tail -n 1)}

target=x86_64-unknown-linux-gnu
work=target/emulate

selection=() arguments=()
while (($#)); do
    if [[ $1 == -- ]]; then
        shift
        arguments=("$@")
        break
    fi
    selection+=("$1")
    shift
done
((${#selection[@]})) || selection=(-p qconfig-kernels --lib --tests)

for tool in "$bochs" busybox cpio xorriso script; do
    command -v "$tool" >/dev/null || { echo "missing: $tool (see tests/emulate/README.md)" >&2; exit 2; }
done
bochs=$(realpath "$(command -v "$bochs")")
[[ -r $kernel ]] || { echo "missing: a kernel (linux-image-cloud-amd64)" >&2; exit 2; }

rm -rf "$work"
mkdir -p "$work"/root/{bin,dev,proc,tests,tmp} "$work"/iso

# Static binaries: the guest has no libraries. Optimized, since every instruction is interpreted, and
# with the checks of a debug build.
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
export CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_STRIP=symbols
cargo test --no-run --release --target "$target" --message-format=json "${selection[@]}" >"$work/cargo.json"
mapfile -t binaries < <(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/cargo.json")
((${#binaries[@]})) || { echo "the selection has no test binary" >&2; exit 2; }

root=$work/root
cp "$(command -v busybox)" "$root/bin/busybox"
for binary in "${binaries[@]}"; do
    cp "$binary" "$root/tests/"
done
{
    cat <<'EOF'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
{
/bin/busybox grep -m 1 'model name' /proc/cpuinfo
EOF
    echo "/bin/busybox grep -qw $flag /proc/cpuinfo || echo '@ no-$flag 1'"
    echo "export QCONFIG_CASES=$QCONFIG_CASES QCONFIG_ISA=$level HOME=/tmp RUST_BACKTRACE=0"
    for binary in "${binaries[@]}"; do
        name=$(basename "$binary")
        echo "echo '== ${name%-*}'"
        printf '/tests/%s --test-threads=1' "$name"
        ((${#arguments[@]})) && printf ' %q' "${arguments[@]}"
        printf "\necho \"@ %s \$?\"\n" "${name%-*}"
    done
    echo "echo '@ end'"
    # closing the line waits until it is sent
    echo '} </dev/null >/dev/ttyS0 2>&1'
    echo '/bin/busybox sleep 1'
    echo '/bin/busybox poweroff -f'
} >"$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/iso/initrd"

cp "$kernel" "$work/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/"
# What Bochs' CPUID says and Linux trips over:
# - pku, xsaves, xsavec: sizes of the compacted XSAVE area that Linux refuses, and it then drops AVX;
#   without them it uses the plain area
# - fsrm: fast short `rep movsb` without `erms`, with which memmove runs over the end
cat >"$work/iso/isolinux.cfg" <<'EOF'
DEFAULT tests
PROMPT 0
LABEL tests
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet nosmp noapic mitigations=off clearcpuid=pku,xsaves,xsavec,fsrm,aperfmperf lpj=10000 audit=0 panic=-1 random.trust_cpu=on cryptomgr.notests init_on_alloc=0 lsm=
EOF
xorriso -as mkisofs -quiet -o "$work/tests.iso" -b isolinux.bin -c boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso" 2>/dev/null

options=()
help=$("$bochs" --help 2>&1 || true)
if [[ $help == *' -rc '* ]]; then
    # built with its debugger, which waits for a command
    echo c >"$work/commands"
    options=(-rc commands)
fi
cat >"$work/bochsrc" <<EOF
display_library: ${BOCHS_DISPLAY:-term}
romimage: file=$share/BIOS-bochs-latest
vgaromimage: file=$share/VGABIOS-lgpl-latest
cpu: model=$model, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=512, host=512
clock: sync=none
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=tests.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
log: bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
EOF

: >"$work/serial.txt"
started=$SECONDS
tail -n +1 -f --pid=$$ "$work/serial.txt" > >(sed -u 's/\r$//; /^@ /d') &
reader=$!
(
    cd "$work"
    # `script` is the terminal that its screen wants
    TERM=xterm exec timeout --foreground --kill-after=10 "$limit" \
        script -qec "$bochs -q -f bochsrc ${options[*]}" screen.txt </dev/null >/dev/null 2>&1
) || true # Bochs calls a guest that switches itself off an error
sleep 2
kill "$reader"
wait "$reader" 2>/dev/null || true
echo "$((SECONDS - started)) s in the emulator"

tr -d '\r' <"$work/serial.txt" >"$work/output.txt"
failed=$(sed -n 's/^@ \(.*\) [1-9][0-9]*$/\1/p' "$work/output.txt")
if [[ -n $failed ]]; then
    echo "failed: ${failed//$'\n'/ }" >&2
    exit 1
fi
grep -q '^@ end$' "$work/output.txt" || { echo "the run did not end (see $work/bochs.log)" >&2; exit 1; }
