# What every target of the project has in common.

# terrace_target(<target>): hidden symbols; warnings and sanitizers, as the options say.
function(terrace_target target)
  # All alike, as what shares a precompiled header must be.
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(BUILD_SHARED_LIBS)
    target_compile_options(${target} PRIVATE -fno-semantic-interposition)
  endif()
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
    if(TERRACE_SANITIZE MATCHES thread)
      # Asio counts references by fences, which the sanitizer does not see: it took the end of an executor for a race.
      target_compile_definitions(${target} PRIVATE BOOST_ASIO_DISABLE_STD_ATOMIC)
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

# terrace_library(<target>): what is common to those that are shared if BUILD_SHARED_LIBS says so.
function(terrace_library target)
  terrace_target(${target})
  # Before 1.0 each minor version is an interface of its own: see docs/installing.md.
  set(soversion ${PROJECT_VERSION_MAJOR})
  if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(soversion 0.${PROJECT_VERSION_MINOR})
  endif()
  set_target_properties(
    ${target}
    PROPERTIES VERSION ${PROJECT_VERSION}
               SOVERSION ${soversion}
               DEFINE_SYMBOL "" # it would be in the way of a precompiled header that libraries share
               VERIFY_INTERFACE_HEADER_SETS ${TERRACE_WARNINGS})
  if(BUILD_SHARED_LIBS AND NOT TERRACE_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,--no-undefined)
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
  terrace_library(${target})
  terrace_component(adapter_${name} ${target})
endfunction()
