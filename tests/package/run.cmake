# Builds and runs the consumer program of this folder against the library in one of two ways:
# find_package on a fresh install of BUILD, or FetchContent on the source folder SOURCE.

set(work "${BUILD}/package/${WAY}")
file(REMOVE_RECURSE "${work}")

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(options -D WAY=${WAY})
if(LAUNCHER)
  list(APPEND options "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}")
endif()
if(WAY STREQUAL "find_package")
  run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${work}/prefix")
  list(APPEND options "-DCMAKE_PREFIX_PATH=${work}/prefix")
else()
  list(APPEND options "-DFETCHCONTENT_SOURCE_DIR_DSTREAM=${SOURCE}")
endif()
run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${work}/build" -G Ninja "-DCMAKE_CXX_COMPILER=${COMPILER}"
    -D CMAKE_CXX_FLAGS=-O0 ${options})
run("${CMAKE_COMMAND}" --build "${work}/build" --parallel 2)
run("${work}/build/consumer")

# The template of a plugin, copied and built as its README says, under the runner that was installed.
if(WAY STREQUAL "find_package")
  file(COPY "${SOURCE}/examples/plugins/template" DESTINATION "${work}")
  run("${CMAKE_COMMAND}" -S "${work}/template" -B "${work}/template/build" -G Ninja "-DCMAKE_CXX_COMPILER=${COMPILER}"
      -D CMAKE_CXX_FLAGS=-O0 ${options})
  run("${CMAKE_COMMAND}" --build "${work}/template/build")
  # In a directory of its own: the build's may be one that everybody may write to.
  execute_process(COMMAND mktemp -d /var/tmp/dstream-package.XXXXXX OUTPUT_VARIABLE directory OUTPUT_STRIP_TRAILING_WHITESPACE
                  COMMAND_ERROR_IS_FATAL ANY)
  file(COPY "${work}/template/build/my_plugin.so" DESTINATION "${directory}" FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  execute_process(
    COMMAND "${work}/prefix/bin/dstream-run" --plugin "${directory}/my_plugin.so" --batch 100ms my_job -- hi 2
    OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE "${directory}")
  if(NOT printed STREQUAL "hi 1\nhi 2\n")
    message(FATAL_ERROR "the plugin's job printed:\n${printed}")
  endif()
endif()
