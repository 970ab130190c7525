#!/bin/bash
# Runs the suite on the running kernel, and leaves its results where tmt keeps them. See suite.fmf.
set -euo pipefail

if [ ! -b "$DEVICE" ]; then
	# tmt counts the reboots that this test asked for.
	if [ "${TMT_REBOOT_COUNT:-0}" -gt 0 ]; then
		echo "no $DEVICE, although memmap=1G!4G is set: less than 5 GiB of memory, or no CONFIG_X86_PMEM_LEGACY or CONFIG_BLK_DEV_PMEM" >&2
		exit 2
	fi
	grubby --update-kernel=ALL --args='memmap=1G!4G'
	tmt-reboot
fi

if [ ! -d /var/tmp/daxtests ]; then
	git clone --depth 1 "$REPOSITORY" /var/tmp/daxtests
fi
cd /var/tmp/daxtests

# Few distributions have a cargo that is new enough (Rust 1.95).
export PATH="$HOME/.cargo/bin:$PATH"
if ! command -v rustup >/dev/null; then
	curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
fi
cargo build --locked --profile guest --package runner

# SELECTION has several words.
# shellcheck disable=SC2086
exec target/guest/runner --fs "$FS" --dev "$DEVICE" --results "$TMT_TEST_DATA/results" $SELECTION
