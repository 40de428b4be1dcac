# The CUDA half: the toolkit, LibTorch's CUDA libraries, NCCL, and how kernels are compiled. Without SWITCHYARD_CUDA only
# the function that the folders call is left, and it does nothing.

option(SWITCHYARD_CUDA "Compute on CUDA devices (needs the CUDA toolkit with cuBLAS and NCCL)" OFF)
set(SWITCHYARD_CUDA_ARCHITECTURES 80-real 90-real 100 CACHE STRING "Compute capabilities that kernels are compiled for")

if(SWITCHYARD_CUDA)
  set(CMAKE_CUDA_ARCHITECTURES ${SWITCHYARD_CUDA_ARCHITECTURES})
  if(SWITCHYARD_CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  find_path(SWITCHYARD_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(SWITCHYARD_NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(NOT SWITCHYARD_NCCL_INCLUDE OR NOT SWITCHYARD_NCCL_LIBRARY)
    message(FATAL_ERROR "No NCCL: install libnccl-dev, or pass -DSWITCHYARD_NCCL_INCLUDE=DIR "
      "-DSWITCHYARD_NCCL_LIBRARY=FILE (the Python package nvidia-nccl-cu13 has both).")
  endif()
  foreach(name c10_cuda torch_cuda)
    add_library(libtorch::${name} SHARED IMPORTED)
    set_target_properties(libtorch::${name} PROPERTIES IMPORTED_LOCATION ${SWITCHYARD_LIBTORCH}/lib/lib${name}.so)
  endforeach()
  # LibTorch's CUDA half needs more libraries (cuDNN, cuSPARSELt, …) that only running asks for, and registers its
  # operations when it is loaded, also where nothing names a symbol of it.
  add_library(cuda_libraries INTERFACE)
  target_link_options(cuda_libraries INTERFACE -Wl,--allow-shlib-undefined -Wl,--no-as-needed)
  target_link_libraries(cuda_libraries INTERFACE libtorch::torch_cuda libtorch::c10_cuda CUDA::cudart CUDA::cublas
    ${SWITCHYARD_NCCL_LIBRARY})
endif()

# switchyard_cuda(NAME KERNELS file.cu... HOST file.cpp... ABSENT file.cpp...): what the library NAME is made of with
# CUDA, and what takes its place without. Kernels are compiled on their own, without LibTorch's headers. HOST sources see
# CUDA's headers; all others compile as in a build without CUDA.
function(switchyard_cuda name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "KERNELS;HOST;ABSENT")
  if(NOT SWITCHYARD_CUDA)
    switchyard_sources(${name} ${arg_ABSENT})
    return()
  endif()
  if(NOT TARGET ${name}_kernels)
    add_library(${name}_kernels OBJECT)
    target_include_directories(${name}_kernels PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_features(${name}_kernels PRIVATE cuda_std_17)  # the newest that CMake 3.25 knows
    target_compile_options(${name}_kernels PRIVATE --expt-relaxed-constexpr
      $<$<BOOL:${SWITCHYARD_WERROR}>:-Werror all-warnings>)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${name}_kernels>)
  endif()
  foreach(source ${arg_KERNELS})
    target_sources(${name}_kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  endforeach()
  switchyard_sources(${name} ${arg_HOST})
  list(TRANSFORM CUDAToolkit_INCLUDE_DIRS PREPEND -isystem OUTPUT_VARIABLE include_options)
  foreach(source ${arg_HOST})
    set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/${source} TARGET_DIRECTORY ${name} PROPERTIES
      COMPILE_OPTIONS "${include_options};-isystem${SWITCHYARD_NCCL_INCLUDE}")
  endforeach()
endfunction()
