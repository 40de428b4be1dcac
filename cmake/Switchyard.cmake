# What every target of ours is built with, and the three functions that the folders use.

option(SWITCHYARD_WERROR "Treat warnings in our code as errors" ON)
set(SWITCHYARD_SANITIZE "" CACHE STRING "Value for -fsanitize=, empty for none")

find_program(SWITCHYARD_CCACHE ccache)
if(SWITCHYARD_CCACHE)
  # Precompiled headers need these two sloppiness settings; the base directory lets clones share entries.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${SWITCHYARD_CCACHE})
endif()

add_library(switchyard_build INTERFACE)
target_compile_features(switchyard_build INTERFACE cxx_std_20)
target_compile_options(switchyard_build INTERFACE
  -march=x86-64-v3 -fopenmp -Wall -Wextra -Wshadow=local -Wnon-virtual-dtor -Woverloaded-virtual
  $<$<BOOL:${SWITCHYARD_WERROR}>:-Werror>
  $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
target_include_directories(switchyard_build INTERFACE ${CMAKE_SOURCE_DIR})
if(SWITCHYARD_SANITIZE)
  target_compile_options(switchyard_build INTERFACE -fsanitize=${SWITCHYARD_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(switchyard_build INTERFACE -fsanitize=${SWITCHYARD_SANITIZE})
endif()

# switchyard_library(NAME DEPENDS...): the static library of one top-level folder. Its sources are added by the
# CMakeLists.txt of each sub-folder with switchyard_sources(NAME file...).
function(switchyard_library name)
  add_library(${name} STATIC ${CMAKE_SOURCE_DIR}/cmake/precompiled.h)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)  # also while a folder is empty
  target_link_libraries(${name} PUBLIC switchyard_build ${ARGN})
  if(name STREQUAL "runtime")
    target_precompile_headers(${name} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/precompiled.h)
  else()
    target_precompile_headers(${name} REUSE_FROM runtime)
  endif()
endfunction()

function(switchyard_sources name)
  foreach(source ${ARGN})
    target_sources(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  endforeach()
endfunction()
