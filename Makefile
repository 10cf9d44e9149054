# What a newcomer types. Everything else is in scripts/ and xtask/.
SHELL := /bin/sh
TARGET := x86_64-unknown-linux-gnu
RELEASE := target/$(TARGET)/release
IMAGES := target/images

.PHONY: vm-systemd vm-selinux cycles-oci conformance conformance-registry crash differential fuzz profiles software
.PHONY: help build demo test images bench lint unit blackbox vm drivers cycles clean install

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

build: ## both programs, statically linked, in target/release
	@scripts/deps.sh build
	cargo build --release --locked -p estiba -p runtime
	@mkdir -p target/release
	@ln -f $(RELEASE)/estiba $(RELEASE)/estiba-runtime target/release/
	@ls -l target/release/estiba target/release/estiba-runtime

images: ## root filesystem archives from Debian packages
	@scripts/images.sh $(IMAGES)

demo: build images ## installs, builds, and does the main job before your eyes
	@scripts/demo.sh target/release $(IMAGES)

test: ## everything that has to pass before a change lands
	@scripts/deps.sh test
	@scripts/deps.sh vm
	$(MAKE) --no-print-directory lint unit blackbox vm

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask tidy

unit: ## unit tests and tests against this kernel
	@scripts/deps.sh test
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p estiba -p runtime
	scripts/cargo-test.sh --locked --workspace --exclude blackbox

blackbox: ## the product through its real binaries
	@scripts/deps.sh test
	@scripts/images.sh $(IMAGES)
	cargo build --locked -p estiba -p runtime
	scripts/cargo-test.sh --locked -p blackbox

vm: ## a core subset on Debian's kernel with cgroup v2, in a virtual machine
	@scripts/deps.sh vm
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p estiba -p runtime
	@scripts/vm-test.sh target/$(TARGET)/debug $(IMAGES) target/vm

vm-systemd: ## Debian's systemd as the first process places the control groups, of version 2 and of version 1
	@scripts/deps.sh vm
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p estiba -p runtime
	@scripts/vm-systemd.sh target/$(TARGET)/debug $(IMAGES) target/vm
	@scripts/vm-systemd.sh target/$(TARGET)/debug $(IMAGES) target/vm legacy

vm-selinux: ## labels of processes and mounts, on Debian's kernel with SELinux and Debian's policy
	@scripts/deps.sh vm
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p estiba -p runtime
	@scripts/vm-selinux.sh target/$(TARGET)/debug $(IMAGES) target/vm-selinux

vm-firewall: ## of these, nft, iptables legacy and neither, alone
	@scripts/deps.sh vm
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p estiba -p runtime
	@scripts/vm-test.sh target/$(TARGET)/debug $(IMAGES) target/vm firewall

drivers: ## Debian's podman, buildah and dockerd run their containers on our runtime
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p runtime
	@scripts/drivers.sh target/$(TARGET)/debug/estiba-runtime $(IMAGES) target/drivers

fuzz: ## a minute of fuzzing for everything that reads bytes from outside (wants a C++ compiler)
	@scripts/fuzz.sh

conformance: images ## other people's suites and clients; the table goes to docs/
	cargo build --locked -p estiba -p runtime
	@scripts/conformance.sh target/$(TARGET)/debug $(IMAGES) target/conformance
	@{ sed '/^## /,$$d' docs/conformance.md; cat target/conformance/conformance.md; echo; \
	  sed -n '/^## OCI distribution/,$$p' docs/conformance.md; } > target/conformance.md
	@mv target/conformance.md docs/conformance.md

conformance-registry: ## the distribution specification's suite against our registry
	cargo build --locked -p estiba
	@scripts/conformance-registry.sh target/$(TARGET)/debug target/conformance-registry
	@{ sed '/^## OCI distribution/,$$d' docs/conformance.md; cat target/conformance-registry/registry.md; } \
	  | cat -s > target/conformance.md
	@mv target/conformance.md docs/conformance.md

software: ## nginx, postgres, redis and python of Debian as images, made, pushed, pulled and used
	cargo build --locked -p estiba -p runtime
	@scripts/software.sh target/$(TARGET)/debug target/software

profiles: ## profiles of nginx, redis and postgres are learned, counted, and run their load
	cargo build --locked -p estiba -p runtime
	@scripts/profiles.sh target/$(TARGET)/debug target/software

differential: images ## the Dockerfiles of tests/, built by us, buildah and Docker 20.10, compared file by file
	cargo build --release --locked -p estiba -p runtime
	@scripts/differential.sh $(RELEASE) $(IMAGES) target/differential

crash: images ## the daemon and monitors die at every place that any operation passes
	cargo build --locked -p estiba -p runtime
	cargo test --locked -p blackbox --test crash --test build_gone -- --include-ignored --nocapture

drop-in: images ## our command line and the stock one, command by command on the same daemon
	cargo build --locked -p estiba -p runtime
	cargo test --locked -p blackbox --test drop_in -- --include-ignored

cycles: build ## ten thousand containers come and go, and nothing stays behind
	@scripts/images.sh $(IMAGES) busybox
	@scripts/cycles.sh target/release $(IMAGES)

cycles-oci: build ## the same by the OCI command line alone
	@scripts/images.sh $(IMAGES) busybox
	@scripts/cycles-oci.sh target/release/estiba-runtime $(IMAGES)

bench: build images ## ratios against the kernel's floor, in one run
	@scripts/bench.sh target/release $(IMAGES)

bench-net: build ## what networks cost, against bridges laid by hand and dnsmasq
	@scripts/images.sh $(IMAGES) busybox
	@scripts/bench-net.sh target/release $(IMAGES) target/bench-net

bench-builds: build images ## what builds cost, against a pipeline of tar and sha256sum
	@scripts/bench-builds.sh target/release $(IMAGES) target/bench-builds

host-firewalls: ## firewalld and ufw of Debian, beside the daemon
	@scripts/images.sh $(IMAGES) busybox
	cargo build --locked -p estiba -p runtime
	@scripts/host-firewalls.sh target/$(TARGET)/debug $(IMAGES) target/host-firewalls

networks-real: ## nginx, PostgreSQL and Redis talk by name
	cargo build --locked -p estiba -p runtime
	@scripts/networks-real.sh target/$(TARGET)/debug $(IMAGES) target/networks-real

install: build ## into /usr/local
	install -D -m 0755 target/release/estiba /usr/local/bin/estiba
	install -D -m 0755 target/release/estiba-runtime /usr/local/libexec/estiba/estiba-runtime
	install -d /usr/local/share/man/man1 /usr/local/share/bash-completion/completions
	install -d /usr/local/share/zsh/site-functions /usr/local/share/fish/vendor_completions.d
	target/release/estiba __man /usr/local/share/man/man1
	target/release/estiba completion bash > /usr/local/share/bash-completion/completions/estiba
	target/release/estiba completion zsh > /usr/local/share/zsh/site-functions/_estiba
	target/release/estiba completion fish > /usr/local/share/fish/vendor_completions.d/estiba.fish

clean:
	cargo clean
