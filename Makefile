# One line each: what the README says, in short.
.PHONY: farm test identity nut check bench deb clean rust

# The first two, for whom has just installed a tool chain: what an older one says of these manifests names no version.
RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rust:
	@have=$$(cargo --version 2>/dev/null | cut -d ' ' -f 2); \
	test "$$(printf '%s\n' $(RUST) "$${have:-0}" | sort -V | head -n 1)" = $(RUST) || \
	{ echo "Drover needs Rust $(RUST) or later, and here is $${have:-none}: apt-get install cargo-web" >&2; exit 1; }

farm: rust
	cargo run --release -- run plans/debian-multiarch.ron

# Built as `farm` builds it, so that nothing is compiled twice, and what is tested is what is used.
test: rust
	cargo test --release --workspace

# Every foreign architecture, an older release and a newer one, with native assist and without; and Debian 13 booted for armhf and
# riscv64: half an hour and more, 1.2 GB of packages.
identity:
	cargo test --release --test real -- --ignored identity_

# All that NUT is built with, in a native and in two emulated containers, one of the document's own farm: 20 minutes,
# 2.2 GB of packages.
nut:
	cargo test --release --test real -- --ignored nut_

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(MAKE) test
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

bench:
	cargo bench

# A package for this release of Debian and later ones, which need no Rust: target/drover_*.deb.
deb: rust
	cargo build --release
	packaging/deb.sh target/release/drover target

clean:
	cargo clean
