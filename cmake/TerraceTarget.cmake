# What every target of the project has in common.

# terrace_target(<target>): warnings and sanitizers, as the options say.
function(terrace_target target)
  if(TERRACE_WARNINGS)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                             -Woverloaded-virtual -Wconversion)
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
      # Asio's coroutine frames have an operator delete that gcc 12, once it has inlined enough, takes for the wrong one.
      target_compile_options(${target} PRIVATE -Wno-mismatched-new-delete)
      if(CMAKE_UNITY_BUILD)
        # What is local to one of the sources that are compiled together looks as if it were a header's.
        target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
      endif()
    endif()
  endif()
  if(TERRACE_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${TERRACE_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${TERRACE_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized) # what instrumented Asio only seems to be
    endif()
    if(TERRACE_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
      target_compile_options(${target} PRIVATE -Wno-tsan) # Asio's fences: no false report was ever seen
    endif()
    if(TERRACE_SANITIZE MATCHES undefined)
      target_compile_options(${target} PRIVATE -fno-sanitize-recover=undefined)
      if(CMAKE_CXX_COMPILER_ID STREQUAL Clang AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 17)
        # It puts data before functions, which clang cannot lay out for lambdas that are coroutines.
        target_compile_options(${target} PRIVATE -fno-sanitize=function)
      endif()
    endif()
  endif()
endfunction()

# terrace_adapter(<name> SOURCES ...): the library terrace::adapter_<name>, from the folder that calls it.
function(terrace_adapter name)
  cmake_parse_arguments(PARSE_ARGV 1 adapter "" "" "SOURCES")
  set(target terrace_adapter_${name})
  add_library(${target} ${adapter_SOURCES})
  add_library(terrace::adapter_${name} ALIAS ${target})
  file(GLOB headers ${CMAKE_CURRENT_SOURCE_DIR}/include/terrace/*.hpp)
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_CURRENT_SOURCE_DIR}/include FILES ${headers})
  target_link_libraries(${target} PUBLIC terrace::terrace PRIVATE fmt::fmt)
  target_precompile_headers(${target} REUSE_FROM terrace)
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ${TERRACE_WARNINGS})
  terrace_target(${target})
endfunction()
