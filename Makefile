# awsocks. One Makefile, no recursion into folders.
#
#   make                build/awsocks, build/awsocks-localaws, the static build/awsocks-bridge and
#                       build/awsocks-agent
#   make build-agent    the VM's agent; AGENT_ARCH=aarch64: for another processor
#   make setup          installs what building and testing need (apt or brew)
#   make test-unit      the quick loop
#   make test           sets up what it needs, then everything (see CONTRIBUTING.md)
#   make test-long      the full-size transfers, and valgrind
#   make demo           emulator and proxy, a request through both
#   make bench-workers  how it scales with --workers; make bench-docs: results into docs/BENCHMARKS.md
#   make bench          against the peers that apt has; ROUNDS=7 for figures to keep
#   make bench-ssm      over SSM sessions, against the emulator
#   make bench-flood    what a flood at one listener costs those of another
#   make bench-vm       boot, throughput and memory of VM mode
#   make clients-table  which client honours which proxy variable, into docs/CLIENTS.md
#   make check-macos    compiles and links, on Linux, all that macOS builds
#   make lint fuzz install clean; make lint-deep: clang's analyser at its full depth
#
# SAN=1       the same under AddressSanitizer and UBSan, in build-san/
# SAN=thread  under ThreadSanitizer, in build-tsan/
# PORTABLE=1  on Linux, the files that other systems use, in build-portable/
# ONLY='net_%' make test-unit: only these

PREFIX  ?= /usr/local
CC      ?= cc
# Of sanitized programs no speed is asked, and half their building is optimising.
CFLAGS  ?= $(if $(SAN),-O1,-O2) -g
OS      := $(shell uname -s)
SAN_NAME := $(if $(filter thread,$(SAN)),tsan,san)
B       ?= build$(if $(SAN),-$(SAN_NAME))$(if $(PORTABLE),-portable)
# Where the objects are: they are compiled alike, and which of them a portable program has, its link says.
O       := $(if $(PORTABLE),$(B:%-portable=%),$B)

PKGS    := libuv libcurl openssl libcjson yaml-0.1 expat libidn2 \
           $(if $(filter Linux,$(OS)),libseccomp)
# Numbers have names by being enum constants: clang's newer versions would rather not see a double beside one.
WARN_Darwin := -Wno-enum-float-conversion
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
           -Wmissing-prototypes -Wvla -Wformat=2 -Wundef $(WARN_$(OS)) $(if $(WERROR),-Werror)
HARDEN  := -fPIE -fstack-protector-strong $(if $(filter Linux,$(OS)),-fstack-clash-protection) \
           $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
SANF_san  := -fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined
SANF_tsan := -fsanitize=thread
SANF    := $(if $(SAN),$(SANF_$(SAN_NAME)) -fno-omit-frame-pointer)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
VERSION := 0.1.0
LANG_FLAGS := -std=c11 -D_GNU_SOURCE -DAWSOCKS_VERSION='"$(VERSION)"' -I.
ALL_CFLAGS  = $(LANG_FLAGS) $(WARN) $(HARDEN) $(SANF) -MMD -MP $(PKG_CFLAGS) $(CFLAGS)
LDHARD_Linux := -pie -Wl,-z,relro,-z,now
LINK    = $(CC) $(SANF) $(LDHARD_$(OS)) $(LDFLAGS)
LIBS    = $(PKG_LIBS) -lpthread

# All cores, unless -j was given (or a make above us hands out the work).
ifeq ($(MAKELEVEL)$(findstring -j,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
endif

# One file per platform, chosen here; no #ifdef inside functions.
with_suffix       = $(foreach s,$1,$(wildcard */*_$s.c */*/*_$s.c))
PLATFORM_ALL      := $(call with_suffix,epoll splice reuseport linux uvpoll copy portable macos)
PLATFORM_PORTABLE := $(call with_suffix,uvpoll copy portable)
PLATFORM_Linux    := $(if $(PORTABLE),$(PLATFORM_PORTABLE),$(call with_suffix,epoll splice reuseport)) \
                     $(call with_suffix,linux)
PLATFORM_Darwin   := $(PLATFORM_PORTABLE) $(call with_suffix,macos)
NOT_OURS          := $(filter-out $(PLATFORM_$(OS)),$(PLATFORM_ALL))

LAYERS  := base stream net routing config credentials ec2 backend backend/ssm vm proxy
SRC     := $(filter-out $(NOT_OURS),$(wildcard $(addsuffix /*.c,$(LAYERS))))
OBJ     := $(SRC:%.c=$O/obj/%.o)
# The fence, the process that starts programs outside it, and the agent are Linux's.
NOT_TESTS_Darwin := $(patsubst %,tests/unit/%_test.c,awsocks_fence net_spawner vm_agent_link vm_agent_backend \
                    agent_relay agent_wire)
ONLY    ?= %
TESTS   := $(patsubst %,$B/unit/%,$(filter $(addsuffix _test,$(ONLY)) $(ONLY), \
           $(patsubst tests/unit/%.c,%,$(filter-out $(NOT_TESTS_$(OS)) $(NOT_TESTS), \
           $(wildcard tests/unit/*_test.c)))))
FUZZ    := $(patsubst tests/fuzz/%.c,build-fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
MEM_FAIL := $O/obj/tests/support/mem_fail.o
SUPPORT := $(filter-out $(MEM_FAIL),$(patsubst %.c,$O/obj/%.o,$(wildcard tests/support/*.c)))
# What pkg-config did not find stops the first compilation, with the cure.
NEED    := $(if $(PKG_LIBS),,need-setup)

.PHONY: all lib build-agent unit-build test-unit test-tools test test-long lint lint-deep check-macos fuzz fuzz-build \
	bench bench-ssm bench-flood bench-vm bench-workers bench-docs clients-table demo install \
	clean setup need-setup man
.SECONDARY:
.DELETE_ON_ERROR:
# The agent is a Linux program: elsewhere it needs a compiler for that, and is built when asked for.
all: $B/awsocks $B/awsocks-localaws $B/awsocks-bridge $(if $(filter Linux,$(OS)),$B/awsocks-agent)
lib: $B/libawsocks.a

# cmd/NAME/x.sh becomes a table of its lines in the program.
prog_objs = $(patsubst %.c,$O/obj/%.o,$(filter-out $(NOT_OURS),$(wildcard cmd/$1/*.c))) \
            $(patsubst %.sh,$O/obj/gen/%.o,$(wildcard cmd/$1/*.sh))
BRIDGE_OBJ := $(filter-out %/main.o $O/obj/cmd/bridge/alone_%,$(call prog_objs,bridge))
$B/awsocks: $(call prog_objs,awsocks) $(BRIDGE_OBJ) $B/libawsocks.a
	$(LINK) $^ $(LIBS) -o $@
$B/awsocks-localaws: $(call prog_objs,localaws) $B/libawsocks.a
	$(LINK) $^ $(LIBS) -o $@
$B/libawsocks.a: $(OBJ)
	@mkdir -p $(@D); rm -f $@; $(AR) rcs $@ $^
# Sanitized tests are compiled once and run for a moment: their own files are not optimised at all.
ifneq ($(SAN),)
$O/obj/tests/%.o: CFLAGS += -O0 -g1
endif
$O/obj/%.o: %.c | $(NEED)
	@mkdir -p $(@D); echo "  CC $<"; $(CC) $(ALL_CFLAGS) -c $< -o $@
$O/gen/%.c: %.sh
	@mkdir -p $(@D); { echo '#include <stddef.h>'; echo '#include "$(*D)/cal_text.h"'; \
	echo 'const char *const $(*F)[] = {'; sed -e 's/[\\"]/\\&/g' -e 's/	/\\t/g' -e 's/.*/"&\\n",/' $<; \
	echo 'NULL };'; } >$@
$O/obj/gen/%.o: $O/gen/%.c
	@mkdir -p $(@D); $(CC) $(ALL_CFLAGS) -c $< -o $@
$B/unit/%: $O/obj/tests/unit/%.o $(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
# mem_fail.o stands before the archive, so that base/mem.o stays in it.
$B/unit/%_nomem_test: $O/obj/tests/unit/%_nomem_test.o $(MEM_FAIL) $(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
# What a program's own files are tested by: cmd/NAME/*.c without its main.c.
cmd_objs = $(filter-out %/main.o,$(call prog_objs,$1)) $(if $(filter awsocks,$1),$(BRIDGE_OBJ))
$B/unit/localaws_%_test: $O/obj/tests/unit/localaws_%_test.o $(call cmd_objs,localaws) $(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
$B/unit/bridge_%_test: $O/obj/tests/unit/bridge_%_test.o $(BRIDGE_OBJ) $O/obj/cmd/awsocks/proxy_vars.o \
		$O/obj/cmd/awsocks/proxy_vars_merge.o $(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
# Of the VM's agent, its relays, and what is pure.
AGENT_PIPE := $(patsubst %,$O/obj/cmd/%.o,agent/relay agent/wire bridge/ev bridge/ev_epoll)
$B/unit/agent_relay_test $B/unit/agent_wire_test: $B/unit/%: $O/obj/tests/unit/%.o $(AGENT_PIPE) $(SUPPORT) \
		$B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
$B/unit/agent_%_test: $O/obj/tests/unit/agent_%_test.o $O/obj/cmd/agent/dhcp.o \
		$(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
$B/unit/awsocks_%_cli: $O/obj/tests/unit/awsocks_%_cli.o $(call cmd_objs,awsocks) $(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@
$B/unit/awsocks_%_test: $O/obj/tests/unit/awsocks_%_test.o $(call cmd_objs,awsocks) $(SUPPORT) $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ -lcmocka $(LIBS) -o $@

# A peer for the websocket client, by others: the one program that uses libwebsockets.
$O/obj/tests/unit/lws_peer_cli.o: PKG_CFLAGS += $(shell pkg-config --cflags libwebsockets 2>/dev/null | \
           sed 's/-I/-isystem /g')
$B/unit/lws_peer_cli: LIBS += $(shell pkg-config --libs libwebsockets 2>/dev/null)
$B/unit/net_ws_lws_test: | $B/unit/lws_peer_cli
$B/unit/vm_agent_link_test $B/unit/vm_agent_backend_test: | $B/awsocks-agent

need-setup:
	@echo "Libraries are missing: of $(PKGS)"; \
	echo "pkg-config finds not all. Run 'make setup' (apt or Homebrew; asks for sudo when needed)."; false
setup:
	@sh tests/setup.sh test

# awsocks-bridge: one file that needs no other, for empty roots and small VMs. musl where it is,
# otherwise glibc, which is larger. Sanitizers and macOS have no static programs: there it is an
# ordinary one. What it may use is what is listed here; anything more does not link.
STATIC_CC  := $(if $(SAN),,$(if $(filter Linux,$(OS)),$(shell command -v musl-gcc || echo $(CC))))
BRIDGE_SRC := $(filter-out $(NOT_OURS),$(wildcard cmd/bridge/*.c cmd/awsocks/proxy_vars*.c net/sock_*.c)) \
              cmd/awsocks/env_shell.c cmd/awsocks/env_text.c net/addr.c net/listen_bind.c \
              $(patsubst %,base/%.c,buf clock err log mem memx str suggest)
BRIDGE_SRC := $(filter-out net/sock_relay%,$(BRIDGE_SRC))
STATIC_CFLAGS = $(LANG_FLAGS) $(WARN) -O2 -g -ffunction-sections -fdata-sections -fstack-protector-strong -MMD -MP
$O/static/%.o: %.c
	@mkdir -p $(@D); echo "  STATIC-CC $<"; $(STATIC_CC) $(STATIC_CFLAGS) -c $< -o $@
ifeq ($(STATIC_CC),)
$B/awsocks-bridge: $(BRIDGE_SRC:%.c=$O/obj/%.o)
	$(LINK) $^ -lpthread -o $@
else
$B/awsocks-bridge: $(BRIDGE_SRC:%.c=$O/static/%.o)
	$(STATIC_CC) -static -Wl,--gc-sections,-z,relro,-z,noexecstack,-s $^ -lpthread -o $@
endif

# awsocks-agent: all that runs in the VM, static as the bridge is. Another guest's, on any system, by zig
# (tests/setup-zig.sh): make build-agent AGENT_ARCH=aarch64 gives build/awsocks-agent-aarch64. Where this
# is no Linux that is the only way, and without AGENT_ARCH the guest is of the host's kind.
AGENT_BY_ZIG := $(or $(AGENT_ARCH),$(if $(filter Linux,$(OS)),,$(subst arm64,aarch64,$(shell uname -m))))
AGENT     ?= $B/awsocks-agent
AGENT_CC  ?= $(STATIC_CC)
AGENT_SRC := $(filter-out $(NOT_OURS),$(wildcard cmd/agent/*.c cmd/bridge/ev*.c vm/link*.c vm/frame*.c)) \
             cmd/bridge/std_fds.c vm/agent_conf.c vm/guard.c stream/stream.c net/addr.c net/host_kind.c \
             net/sock_linux.c $(patsubst %,base/%.c,buf clock err mem memx str suggest)
ifeq ($(AGENT_BY_ZIG),)
build-agent: $(AGENT)
else
build-agent:
	@sh tests/setup-zig.sh
	@$(MAKE) -s OS=Linux AGENT_ARCH= AGENT=$B/awsocks-agent$(addprefix -,$(AGENT_ARCH)) build-agent \
		AGENT_CC="$(CURDIR)/build-zig/zig cc -target $(AGENT_BY_ZIG)-linux-musl"
endif
$(AGENT).obj/%.o: %.c
	@mkdir -p $(@D); echo "  AGENT-CC $<"; $(AGENT_CC) $(STATIC_CFLAGS) -c $< -o $@
ifeq ($(AGENT_CC),)
$(AGENT): $(AGENT_SRC:%.c=$O/obj/%.o)
	$(LINK) $^ -lpthread -o $@
else
$(AGENT): $(AGENT_SRC:%.c=$(AGENT).obj/%.o)
	$(AGENT_CC) -static -Wl,--gc-sections,-z,relro,-z,noexecstack,-s $^ -lpthread -o $@
endif

# Unit tests: every tests/unit/*_test.c is a program of its own.
unit-build: $(TESTS)
test-unit: $(TESTS)
	@sh tests/run-unit.sh $B $(TESTS)

# Programs that tests in Python run: built before them, not by two of them at once. Those that
# make load are no part of what is tested: never sanitized.
TOOL_CFLAGS = $(LANG_FLAGS) $(WARN) -MMD -MP -O2 -g
LOAD_TOOLS := $(if $(filter Linux,$(OS)),$B/tools/soakload $B/tools/socksbench $B/tools/vsockback \
              $B/tools/vm-bare $B/tools/vm-guest $B/tools/vm-host $B/tools/vm-mortal)
$B/tools/obj/%.o: tests/%.c
	@mkdir -p $(@D); echo "  CC $<"; $(CC) $(TOOL_CFLAGS) -c $< -o $@
$B/tools/soakload: $(patsubst tests/%.c,$B/tools/obj/%.o,$(wildcard tests/soak/*.c))
	@$(CC) $^ -o $@
$B/tools/vsockback: $(patsubst tests/%.c,$B/tools/obj/%.o,$(wildcard tests/vsock/*.c))
	@$(CC) $^ -o $@
$B/tools/socksbench: tests/bench/socksbench.c
	@mkdir -p $(@D); echo "  CC $<"; $(CC) -std=gnu11 -O2 -Wall -Wextra $< -o $@
# What the VM benchmark boots, and the init of a test: static, as the agent is.
VM_INIT_CC := $(shell command -v musl-gcc || echo $(CC)) -static -s $(LANG_FLAGS) $(WARN) -O2
VM_GUEST   := tests/bench/vm/boot.c tests/bench/vm/guest.c $(wildcard vm/link*.c vm/frame*.c) \
              cmd/agent/wire.c cmd/bridge/ev.c cmd/bridge/ev_epoll.c \
              net/addr.c stream/stream.c $(patsubst %,base/%.c,buf clock err log mem memx str)
$B/tools/vm-bare: tests/bench/vm/boot.c tests/bench/vm/bare.c
	@mkdir -p $(@D); echo "  CC $@"; $(VM_INIT_CC) $^ -o $@
$B/tools/vm-guest: $(VM_GUEST) $(wildcard vm/*.h)
	@mkdir -p $(@D); echo "  CC $@"; $(VM_INIT_CC) -Wl,--gc-sections -ffunction-sections $(VM_GUEST) -o $@
$B/tools/vm-mortal: tests/vm/mortal.c
	@mkdir -p $(@D); echo "  CC $@"; $(VM_INIT_CC) $^ -o $@
# The host's end of its link.
$B/tools/vm-host: $O/obj/tests/bench/vm/host.o $B/libawsocks.a
	@mkdir -p $(@D); $(LINK) $^ $(LIBS) -o $@
test-tools: $(patsubst tests/unit/%.c,$B/unit/%,$(wildcard tests/unit/*_cli.c)) $(LOAD_TOOLS)

# Fuzz targets: make fuzz SECS=10. Each runs on its corpus in tests/corpus/NAME.
FUZZ_CFLAGS = $(ALL_CFLAGS) -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
build-fuzz/obj/%.o: %.c | $(NEED)
	@mkdir -p $(@D); echo "  FUZZ-CC $<"; clang $(FUZZ_CFLAGS) -c $< -o $@
build-fuzz/libawsocks.a: $(SRC:%.c=build-fuzz/obj/%.o)
	@mkdir -p $(@D); rm -f $@; $(AR) rcs $@ $^
build-fuzz/%_fuzz: build-fuzz/obj/tests/fuzz/%_fuzz.o build-fuzz/libawsocks.a
	clang -fsanitize=fuzzer,address,undefined $^ $(LIBS) -o $@
# Of bridge and agent, which are in no library, the file of the same name.
build-fuzz/bridge_%_fuzz: build-fuzz/obj/tests/fuzz/bridge_%_fuzz.o build-fuzz/obj/cmd/bridge/%.o \
		build-fuzz/libawsocks.a
	clang -fsanitize=fuzzer,address,undefined $^ $(LIBS) -o $@
build-fuzz/agent_%_fuzz: build-fuzz/obj/tests/fuzz/agent_%_fuzz.o build-fuzz/obj/cmd/agent/%.o \
		build-fuzz/libawsocks.a
	clang -fsanitize=fuzzer,address,undefined $^ $(LIBS) -o $@
fuzz-build: $(FUZZ)
fuzz: $(FUZZ)
	@sh tests/run-fuzz.sh $(or $(SECS),10) $(FUZZ)

lint:
	@sh tests/lint/lint.sh $(LANG_FLAGS) $(PKG_CFLAGS)
lint-deep:
	@/usr/bin/env python3 -B tests/lint/analyse.py tidy-deep $(LANG_FLAGS) $(PKG_CFLAGS)
check-macos:
	@sh tests/macos/check.sh $(MAKE)

# Everything. tests/run-all.sh runs the phases, each a make of its own (the
# libraries may be there only since the set-up), and adds up their totals.
test:
	@sh tests/setup.sh test
	@MAKEFLAGS= MAKELEVEL= sh tests/run-all.sh $(MAKE)
test-long:
	@sh tests/setup.sh test
	@MAKEFLAGS= MAKELEVEL= sh tests/run-long.sh $(MAKE)
demo:
	@sh tests/setup.sh build
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s all
	@$B/awsocks demo
bench:
	@sh tests/setup.sh bench
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s all
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s PORTABLE=1 build-portable/awsocks
	@/usr/bin/env python3 -B tests/bench/run.py --awsocks $B/awsocks --rounds $(or $(ROUNDS),3) $(BENCH_ARGS)

bench-ssm:
	@sh tests/setup.sh build
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s all
	@/usr/bin/env python3 -B tests/bench/ssm.py --rounds $(or $(ROUNDS),3) $(BENCH_ARGS)

bench-flood:
	@sh tests/setup.sh bench
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s all test-tools
	@/usr/bin/env python3 -B tests/bench/flood.py --rounds $(or $(ROUNDS),3) $(BENCH_ARGS)

bench-vm:
	@sh tests/setup.sh test
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s all test-tools
	@/usr/bin/env python3 -B tests/bench/vm.py --rounds $(or $(ROUNDS),3) $(BENCH_ARGS)

bench-workers:
	@sh tests/setup.sh bench
	@MAKEFLAGS= MAKELEVEL= $(MAKE) -s all test-tools
	@/usr/bin/env python3 -B tests/bench/workers.py --awsocks $B/awsocks --rounds $(or $(ROUNDS),3) $(BENCH_ARGS)
# Which client honours which variable, measured; into docs/CLIENTS.md.
clients-table: all
	@sh tests/clients/setup.sh
	@/usr/bin/env python3 -B tests/clients/table.py
bench-docs:
	@/usr/bin/env python3 -B tests/bench/docs.py

DOCS := $(wildcard README.md docs/*.md docs/PROTOCOL.*)
# The manual: its options come from config/options.def, its commands from cmd/awsocks/commands.c.
man: $B/awsocks
	$B/awsocks man docs/awsocks.1.in >$B/awsocks.1 && mv $B/awsocks.1 docs/awsocks.1
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/doc/awsocks
	install -m 755 $B/awsocks $B/awsocks-localaws $B/awsocks-bridge \
		$(filter-out %.obj,$(wildcard $B/awsocks-agent*)) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(wildcard docs/*.1) $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 LICENSE $(DOCS) $(DESTDIR)$(PREFIX)/share/doc/awsocks

# Not build-fuzz's unless something of it is made: it may be made by another make, and what is half written is an error.
-include $(shell find $(sort $B $O) $(if $(findstring fuzz,$(MAKECMDGOALS)),build-fuzz) -name '*.d' 2>/dev/null)
clean:
	rm -rf build build-fuzz build-san build-tsan build-portable build-san-portable build-tsan-portable \
		build-macos build-zig
