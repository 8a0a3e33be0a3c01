# How a component and a program of this project are declared.

include(GNUInstallDirs)

# What every target of this project is compiled with; never exported and never seen by users of the library.
add_library(dstream_build INTERFACE)
target_compile_features(dstream_build INTERFACE cxx_std_20)
target_compile_options(
  dstream_build
  INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor "$<$<BOOL:${DSTREAM_WERROR}>:-Werror>"
            "$<$<BOOL:${DSTREAM_MARCH}>:-march=${DSTREAM_MARCH}>")

# dstream_component(<name> [PUBLIC_DEPS ...] [PRIVATE_DEPS ...])
#
# Declares the library dstream_<name>, alias and export dstream::<name>, from the calling folder: src/**.cpp are its
# sources, include/**.hpp its installed headers. Without a source file it is a header-only library.
function(dstream_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "PUBLIC_DEPS;PRIVATE_DEPS")
  set(target dstream_${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/src/*.cpp")
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/include/*.hpp")
  # Template bodies are included at the end of their header and do not stand alone.
  set(bodies ${headers})
  list(FILTER bodies INCLUDE REGEX "_impl\\.hpp$")
  list(FILTER headers EXCLUDE REGEX "_impl\\.hpp$")

  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src")
    target_link_libraries(${target} PRIVATE "$<BUILD_INTERFACE:dstream_build>" ${arg_PRIVATE_DEPS})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(dstream::${name} ALIAS ${target})
  target_compile_features(${target} ${scope} cxx_std_20)
  target_link_libraries(${target} ${scope} ${arg_PUBLIC_DEPS})
  target_sources(
    ${target}
    ${scope} FILE_SET HEADERS BASE_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include" FILES ${headers}
    ${scope} FILE_SET bodies TYPE HEADERS BASE_DIRS "${CMAKE_CURRENT_SOURCE_DIR}/include" FILES ${bodies})
  set_target_properties(
    ${target} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS "${PROJECT_IS_TOP_LEVEL}"
                         INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)

  if(DSTREAM_INSTALL)
    install(
      TARGETS ${target}
      EXPORT dstreamTargets
      ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
      FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/dstream-cpp"
      FILE_SET bodies DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/dstream-cpp")
  endif()
endfunction()

# dstream_program(<target> SOURCES ... [DEPS ...])
#
# Declares an executable of this project; it sees the public headers of what it links only.
function(dstream_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE dstream_build ${arg_DEPS})
endfunction()
