# One line each: what the README says, in short.
.PHONY: farm test identity check bench clean

farm:
	cargo run --release -- run plans/debian-multiarch.ron

# Built as `farm` builds it, so that nothing is compiled twice, and what is tested is what is used.
test:
	cargo test --release --workspace

# Every foreign architecture with native assist and without: an hour, and 700 MB of packages.
identity:
	cargo test --release --test real -- --ignored identity_

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(MAKE) test
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

bench:
	cargo bench

clean:
	cargo clean
