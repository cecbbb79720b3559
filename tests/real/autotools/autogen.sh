#!/bin/sh
set -e
mkdir -p build-aux
autoreconf --install
