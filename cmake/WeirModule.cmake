# weir_module(core/store SOURCES a.c b.c HEADERS store.h DEPS core/base LIBS PkgConfig::LMDB)
#
# One folder is one module with one static library; the target is the path with '/' and '-' turned into '_'.
# DEPS are other modules, LIBS are libraries from outside. tests/lint/deps holds the includes against DEPS.
# A module may also name INTERNAL headers, which only its own sources and tests include.
function(weir_module path)
  cmake_parse_arguments(M "" "" "SOURCES;HEADERS;INTERNAL;DEPS;LIBS;FUZZ" ${ARGN})
  string(REGEX REPLACE "[-/]" "_" target ${path})
  get_filename_component(name ${path} NAME)
  add_library(${target} STATIC ${M_SOURCES})
  target_compile_definitions(${target} PRIVATE LOG_MODULE="${name}")
  target_link_libraries(${target} PUBLIC weir_flags)
  foreach(dep ${M_DEPS})
    string(REGEX REPLACE "[-/]" "_" dep_target ${dep})
    target_link_libraries(${target} PUBLIC ${dep_target})
  endforeach()
  target_link_libraries(${target} PUBLIC ${M_LIBS})
  set_property(GLOBAL APPEND PROPERTY WEIR_MODULES "${path}:${M_DEPS}")
  foreach(header ${M_HEADERS})                # each header compiles alone
    string(REGEX REPLACE "[-/.]" "_" check check_${path}_${header})
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/headers/${check}.c CONTENT "#include \"${path}/${header}\"\n")
    target_sources(${target} PRIVATE ${CMAKE_BINARY_DIR}/headers/${check}.c)
  endforeach()
  foreach(fuzz ${M_FUZZ})                     # fuzz_<parser>.c beside the parser
    weir_fuzz(${path} ${target} ${fuzz})
  endforeach()
endfunction()

# weir_program(weir-gateway SOURCES main.c DEPS gateway/gatewayd)
function(weir_program name)
  cmake_parse_arguments(P "" "" "SOURCES;DEPS;LIBS" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  target_compile_definitions(${name} PRIVATE LOG_MODULE="${name}" WEIR_VERSION="${PROJECT_VERSION}")
  foreach(dep ${P_DEPS})
    string(REGEX REPLACE "[-/]" "_" dep_target ${dep})
    target_link_libraries(${name} PRIVATE ${dep_target})
  endforeach()
  target_link_libraries(${name} PRIVATE weir_flags ${P_LIBS})
endfunction()

# weir_sink(postgres): the module cloud-bridge/sink-postgres as a shared object lib/weir/weir-sink-postgres.so that
# weir-bridge loads. It exports weir_sink_module and nothing else; what it does not use of its libraries is not linked.
function(weir_sink name)
  add_library(weir-sink-${name} MODULE $<TARGET_OBJECTS:cloud_bridge_sink_${name}>)
  target_link_libraries(weir-sink-${name} PRIVATE cloud_bridge_sink_${name})
  target_link_options(weir-sink-${name} PRIVATE -Wl,--as-needed -Wl,--gc-sections
    -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/sink.map)
  set_target_properties(weir-sink-${name} PROPERTIES PREFIX "" LINKER_LANGUAGE C
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/weir LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/sink.map)
  install(TARGETS weir-sink-${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/weir)
endfunction()

# A fuzz target: with WEIR_FUZZ a libFuzzer program fuzz_<parser>; always a program replay_<parser> that runs the
# corpus in tests/corpus/<parser> as an ordinary test.
function(weir_fuzz path target source)
  get_filename_component(base ${source} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" parser ${base})
  if(WEIR_FUZZ)
    add_executable(${base} ${CMAKE_SOURCE_DIR}/${path}/${source})
    target_link_libraries(${base} PRIVATE ${target})
    target_link_options(${base} PRIVATE -fsanitize=fuzzer)
  endif()
  if(WEIR_TESTS)
    add_executable(replay_${parser} ${CMAKE_SOURCE_DIR}/${path}/${source}
                   ${CMAKE_SOURCE_DIR}/tests/support/replay_corpus.c)
    target_link_libraries(replay_${parser} PRIVATE ${target})
    add_test(NAME corpus/${parser} COMMAND replay_${parser} ${CMAKE_SOURCE_DIR}/tests/corpus/${parser})
  endif()
endfunction()

# weir_test(unit/core/spool/test_spool DEPS core/spool): tests/unit/core/spool/test_spool.c
function(weir_test path)
  cmake_parse_arguments(T "" "" "DEPS;LIBS;ARGS;SOURCES" ${ARGN})
  string(REGEX REPLACE "[-/]" "_" target ${path})
  add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/${path}.c ${T_SOURCES})
  foreach(dep ${T_DEPS})
    string(REGEX REPLACE "[-/]" "_" dep_target ${dep})
    target_link_libraries(${target} PRIVATE ${dep_target})
  endforeach()
  target_compile_definitions(${target} PRIVATE LOG_MODULE="test")
  target_link_libraries(${target} PRIVATE weir_flags PkgConfig::CMOCKA ${T_LIBS})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${path} COMMAND ${target} ${T_ARGS})
  set_tests_properties(${path} PROPERTIES TIMEOUT 120)
endfunction()
