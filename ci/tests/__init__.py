"""Tests of the harness: what it decides, without a machine."""
