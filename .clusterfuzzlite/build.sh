#!/bin/bash -eu
exec bash "$SRC/gomem/fuzz/ossfuzz/build.sh"
