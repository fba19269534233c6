# Looks for what the CUDA component needs. Sets TERRACE_HAVE_CUDA, and then the language CUDA is enabled.

set(TERRACE_HAVE_CUDA OFF)
set_property(CACHE TERRACE_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT TERRACE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "TERRACE_CUDA is ${TERRACE_CUDA}; AUTO, ON or OFF")
endif()

if(NOT TERRACE_CUDA STREQUAL OFF)
  find_package(CUDAToolkit 12.0 QUIET)
  if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE AND TARGET CUDA::cudart_static)
    # The language is found by nvcc, which need not be in the path.
    if(NOT CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE} CACHE FILEPATH "CUDA compiler")
    endif()
    set(CMAKE_CUDA_ARCHITECTURES ${TERRACE_CUDA_ARCHITECTURES}) # `native` would fail without a GPU
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80 90)
      if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
        list(APPEND CMAKE_CUDA_ARCHITECTURES 100)
      endif()
    endif()
    include(CheckLanguage)
    if(TERRACE_CUDA STREQUAL AUTO)
      check_language(CUDA) # a toolkit that does not like this compiler is as good as none
    endif()
    if(CMAKE_CUDA_COMPILER)
      enable_language(CUDA)
      # CMake 3.25 does not know these.
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
      set(TERRACE_HAVE_CUDA ON)
    endif()
  endif()
  if(TERRACE_CUDA STREQUAL ON AND NOT TERRACE_HAVE_CUDA)
    message(FATAL_ERROR "TERRACE_CUDA is ON, and the CUDA toolkit (12.0 or later) was not found: set CUDAToolkit_ROOT")
  endif()
endif()

if(TERRACE_HAVE_CUDA)
  message(STATUS "CUDA component: built, toolkit ${CUDAToolkit_VERSION}, GPUs ${CMAKE_CUDA_ARCHITECTURES}")
else()
  message(STATUS "CUDA component: a stub (TERRACE_CUDA=${TERRACE_CUDA})")
endif()
