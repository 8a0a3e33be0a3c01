#!/usr/bin/env bash
# Measures workloads in the release build: run.sh ID... [--json FILE] [--rounds N] [--long]; see README.md beside it.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
