# Libraries from outside, all Debian packages, and why each is here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(EVENT REQUIRED IMPORTED_TARGET libevent_core)        # event loop
pkg_check_modules(EVENT_HTTP REQUIRED IMPORTED_TARGET libevent_extra)  # evhttp: control sockets
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)   # wire schema
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)            # TLS, AES-GCM, SHA-256
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)                  # durable stores
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)              # configuration, with positions of every node
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)             # the operator's command reads JSON
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)            # default sink
find_library(PAHO_LIBRARY paho-mqtt3as REQUIRED)                       # MQTT on the device; TLS build
pkg_check_modules(PQ IMPORTED_TARGET libpq)                             # sink: PostgreSQL; without it that module is not built
pkg_check_modules(NATS IMPORTED_TARGET libnats)                         # sink: NATS JetStream; without it that module is not built
find_program(PROTOC_C protoc-c REQUIRED)
if(WEIR_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)            # unit tests
endif()

add_library(weir_flags INTERFACE)
target_include_directories(weir_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE)
target_compile_options(weir_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith
  -Wcast-qual -Wwrite-strings -Wswitch-enum -Wundef -Wvla -Wformat=2 -Wno-format-nonliteral
  -fno-strict-overflow -fstack-protector-strong)
target_link_options(weir_flags INTERFACE -Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(weir_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
target_link_libraries(weir_flags INTERFACE Threads::Threads)
