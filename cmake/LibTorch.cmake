# LibTorch as imported targets of our own: the package file of the CUDA wheel insists on a CUDA toolkit even where only
# the CPU half is linked. SWITCHYARD_LIBTORCH names the folder that holds include/ and lib/.

set(_switchyard_cache $ENV{XDG_CACHE_HOME})
if(NOT _switchyard_cache)
  set(_switchyard_cache $ENV{HOME}/.cache)
endif()
set(SWITCHYARD_LIBTORCH ${_switchyard_cache}/switchyard/libtorch-2.11.0/torch
    CACHE PATH "folder with LibTorch's include/ and lib/")
if(NOT EXISTS ${SWITCHYARD_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "No LibTorch in ${SWITCHYARD_LIBTORCH}: run launch/setup.sh, or pass -DSWITCHYARD_LIBTORCH=DIR.")
endif()

foreach(name c10 torch_cpu)
  add_library(libtorch::${name} SHARED IMPORTED)
  set_target_properties(libtorch::${name} PROPERTIES
    IMPORTED_LOCATION ${SWITCHYARD_LIBTORCH}/lib/lib${name}.so
    INTERFACE_INCLUDE_DIRECTORIES
      "${SWITCHYARD_LIBTORCH}/include;${SWITCHYARD_LIBTORCH}/include/torch/csrc/api/include")
endforeach()
target_link_libraries(libtorch::torch_cpu INTERFACE libtorch::c10)

# at::parallel_for runs in the caller's code and needs OpenMP there. LibTorch brings its own libgomp, and only one may be
# loaded: ours is compiled with -fopenmp but linked against that copy.
if(EXISTS ${SWITCHYARD_LIBTORCH}/lib/libgomp.so.1)
  add_library(libtorch::gomp SHARED IMPORTED)
  set_target_properties(libtorch::gomp PROPERTIES IMPORTED_LOCATION ${SWITCHYARD_LIBTORCH}/lib/libgomp.so.1)
  target_link_libraries(libtorch::torch_cpu INTERFACE libtorch::gomp)
else()
  target_link_libraries(libtorch::torch_cpu INTERFACE gomp)
endif()
