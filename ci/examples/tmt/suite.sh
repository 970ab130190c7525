#!/bin/bash
# Runs the suite on the kernel that is running, and leaves its results where tmt keeps them. See suite.fmf.
set -euo pipefail

if [ ! -b "$DEVICE" ]; then
	# tmt counts how often this test has had the machine rebooted.
	if [ "${TMT_REBOOT_COUNT:-0}" -gt 0 ]; then
		echo "there is no $DEVICE, although memory was set aside: are CONFIG_X86_PMEM_LEGACY and CONFIG_BLK_DEV_PMEM set?" >&2
		exit 2
	fi
	grubby --update-kernel=ALL --args='memmap=1G!4G'
	tmt-reboot
fi

if [ ! -d /var/tmp/daxtests ]; then
	git clone --depth 1 "$REPOSITORY" /var/tmp/daxtests
fi
cd /var/tmp/daxtests
cargo build --locked --package runner

# What is selected is several words.
# shellcheck disable=SC2086
exec target/debug/runner --fs "$FS" --dev "$DEVICE" --results "$TMT_TEST_DATA/results" $SELECTION
