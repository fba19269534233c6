# What of the project is installed: libraries as components of the CMake package `terrace` and for pkg-config, programs,
# man pages and completions. See docs/installing.md.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

option(TERRACE_INSTALL "Install libraries, headers and programs" ${PROJECT_IS_TOP_LEVEL})
set(TERRACE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/terrace)
set(TERRACE_PKGCONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# terrace_component(<name> <target>): has find_package(terrace COMPONENTS <name>) give the library terrace::<name>, with
# the headers of its file set HEADERS. Whatever the library is linked to must be known to terrace_dependency(), or be in
# $<BUILD_INTERFACE:>, as headers are that only its sources include.
function(terrace_component name target)
  get_target_property(exported ${target} EXPORT_NAME)
  if(NOT exported)
    set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  endif()
  set_target_properties(${target} PROPERTIES TERRACE_COMPONENT ${name} INSTALL_RPATH $ORIGIN)
  set_property(GLOBAL APPEND PROPERTY TERRACE_COMPONENTS ${name})
  set_property(GLOBAL PROPERTY TERRACE_COMPONENT_${name} ${target})
  if(TERRACE_INSTALL)
    set(headers "")
    get_target_property(header_sets ${target} INTERFACE_HEADER_SETS)
    if(header_sets)
      set(headers FILE_SET HEADERS COMPONENT development)
    endif()
    install(
      TARGETS ${target}
      EXPORT terrace-${name}
      ARCHIVE COMPONENT development
      LIBRARY COMPONENT libraries NAMELINK_COMPONENT development
      ${headers})
    install(
      EXPORT terrace-${name}
      NAMESPACE terrace::
      DESTINATION ${TERRACE_CMAKE_DIR}
      COMPONENT development)
  endif()
endfunction()

# terrace_dependency(<library>): how someone who links Terrace finds what it is linked to. Sets dependency_find, arguments
# of find_package(), dependency_module, of pkg-config, or else dependency_flags of the linker, and dependency_package, which
# has it on Debian. Each may be empty.
function(terrace_dependency library)
  set(find "")
  set(module "")
  set(flags "")
  set(package "")
  if(library STREQUAL Boost::headers)
    set(find "Boost ${Boost_VERSION_STRING} EXACT") # see <terrace/api.hpp>
    set(package libboost${Boost_VERSION_MAJOR}.${Boost_VERSION_MINOR}-dev)
  elseif(library STREQUAL Threads::Threads)
    set(find Threads)
    set(flags -pthread)
  elseif(library STREQUAL fmt::fmt)
    set(find fmt)
    set(module fmt)
    set(package libfmt-dev)
  elseif(library STREQUAL OpenSSL::Crypto)
    set(find "OpenSSL COMPONENTS Crypto")
    set(module libcrypto)
    set(package libssl-dev)
  elseif(library STREQUAL tomlplusplus::tomlplusplus)
    set(find tomlplusplus)
    set(module tomlplusplus)
    set(package libtomlplusplus-dev)
  elseif(library STREQUAL prometheus-cpp::core)
    set(find "prometheus-cpp COMPONENTS core")
    set(module prometheus-cpp-core)
    set(package prometheus-cpp-dev)
  elseif(library STREQUAL CUDA::cudart_static)
    set(find CUDAToolkit)
    set(flags "-lcudart_static -ldl -lrt")
  elseif(library MATCHES "^\\$<INSTALL_INTERFACE:([a-z]+)>$")
    set(flags -l${CMAKE_MATCH_1})
    set(package lib${CMAKE_MATCH_1}-dev)
  else()
    message(FATAL_ERROR "How does who uses the installed Terrace find ${library}? Say so in cmake/TerraceInstall.cmake, or link "
                        "$<BUILD_INTERFACE:${library}> if nothing but headers is used of it, and only by sources")
  endif()
  foreach(what find module flags package)
    set(dependency_${what} "${${what}}" PARENT_SCOPE)
  endforeach()
endfunction()

# Sets <name>_needs, the components that it takes, each before those that take it and itself the last; and <name>_finds.
# Writes its pkg-config file.
function(terrace_describe_component name)
  get_property(target GLOBAL PROPERTY TERRACE_COMPONENT_${name})
  # Shared libraries find what they keep to themselves on their own.
  get_target_property(libraries ${target} INTERFACE_LINK_LIBRARIES)
  list(TRANSFORM libraries REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1")
  set(needs "")
  set(finds "")
  set(modules "")
  set(flags "")
  foreach(library IN LISTS libraries)
    if(library MATCHES "^\\$<BUILD_INTERFACE:")
      continue()
    endif()
    set(component "")
    if(TARGET ${library})
      get_target_property(component ${library} TERRACE_COMPONENT)
    endif()
    if(component)
      terrace_describe_component(${component})
      list(APPEND needs ${${component}_needs})
      list(APPEND finds ${${component}_finds})
      get_property(needed GLOBAL PROPERTY TERRACE_COMPONENT_${component})
      list(APPEND modules ${needed})
    else()
      terrace_dependency(${library})
      list(APPEND finds ${dependency_find})
      list(APPEND modules ${dependency_module})
      list(APPEND flags ${dependency_flags})
      set_property(GLOBAL APPEND PROPERTY TERRACE_DEBIAN_PACKAGES ${dependency_package})
    endif()
  endforeach()
  # Of a shared library, too, CMake wants to know those that it loads.
  get_target_property(libraries ${target} LINK_LIBRARIES)
  foreach(library IN LISTS libraries)
    if(TARGET ${library})
      get_target_property(component ${library} TERRACE_COMPONENT)
      if(component)
        terrace_describe_component(${component})
        list(APPEND needs ${${component}_needs})
      endif()
    endif()
  endforeach()
  list(APPEND needs ${name})
  list(REMOVE_DUPLICATES needs)
  list(REMOVE_DUPLICATES finds)
  list(REMOVE_DUPLICATES modules)
  set(${name}_needs "${needs}" PARENT_SCOPE)
  set(${name}_finds "${finds}" PARENT_SCOPE)

  get_target_property(definitions ${target} INTERFACE_COMPILE_DEFINITIONS)
  list(TRANSFORM definitions PREPEND -D)
  string(REGEX REPLACE "-Ddefinitions-NOTFOUND" "" definitions "${definitions}")
  list(JOIN definitions " " PC_DEFINITIONS)
  list(JOIN modules " " PC_MODULES)
  list(JOIN flags " " PC_FLAGS)
  set(PC_NAME ${name})
  set(PC_LIBRARY ${target})
  file(RELATIVE_PATH PC_PREFIX /${TERRACE_PKGCONFIG_DIR} /)
  string(REGEX REPLACE "/$" "" PC_PREFIX ${PC_PREFIX})
  configure_file(${PROJECT_SOURCE_DIR}/cmake/component.pc.in ${PROJECT_BINARY_DIR}/pkgconfig/${target}.pc @ONLY)
endfunction()

# To be called once all components are known.
function(terrace_install_package)
  if(NOT TERRACE_INSTALL)
    return()
  endif()
  get_property(components GLOBAL PROPERTY TERRACE_COMPONENTS)
  set(TERRACE_COMPONENT_LISTS "")
  foreach(name IN LISTS components)
    terrace_describe_component(${name})
    string(APPEND TERRACE_COMPONENT_LISTS "set(terrace_${name}_needs ${${name}_needs})\n")
    list(JOIN ${name}_finds "\" \"" quoted)
    string(APPEND TERRACE_COMPONENT_LISTS "set(terrace_${name}_finds \"${quoted}\")\n")
  endforeach()
  set(TERRACE_COMPONENTS ${components})
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/terraceConfig.cmake.in ${PROJECT_BINARY_DIR}/terraceConfig.cmake
    INSTALL_DESTINATION ${TERRACE_CMAKE_DIR}
    NO_SET_AND_CHECK_MACRO)
  # What a version promises: docs/installing.md.
  if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatibility SameMinorVersion)
  else()
    set(compatibility SameMajorVersion)
  endif()
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/terraceConfigVersion.cmake COMPATIBILITY ${compatibility})
  install(
    FILES ${PROJECT_BINARY_DIR}/terraceConfig.cmake ${PROJECT_BINARY_DIR}/terraceConfigVersion.cmake
    DESTINATION ${TERRACE_CMAKE_DIR}
    COMPONENT development)
  install(
    DIRECTORY ${PROJECT_BINARY_DIR}/pkgconfig/
    DESTINATION ${TERRACE_PKGCONFIG_DIR}
    COMPONENT development
    FILES_MATCHING PATTERN *.pc)
endfunction()
