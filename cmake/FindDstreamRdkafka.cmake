# Finds librdkafka, whose Debian package has no CMake files, as Dstream::rdkafka.

include(FindPackageHandleStandardArgs)

find_path(DSTREAM_RDKAFKA_INCLUDE_DIR librdkafka/rdkafka.h)
find_library(DSTREAM_RDKAFKA_LIBRARY rdkafka)
mark_as_advanced(DSTREAM_RDKAFKA_INCLUDE_DIR DSTREAM_RDKAFKA_LIBRARY)

find_package_handle_standard_args(DstreamRdkafka REQUIRED_VARS DSTREAM_RDKAFKA_LIBRARY DSTREAM_RDKAFKA_INCLUDE_DIR)

if(DstreamRdkafka_FOUND AND NOT TARGET Dstream::rdkafka)
  add_library(Dstream::rdkafka UNKNOWN IMPORTED)
  set_target_properties(Dstream::rdkafka PROPERTIES IMPORTED_LOCATION "${DSTREAM_RDKAFKA_LIBRARY}"
                                                    INTERFACE_INCLUDE_DIRECTORIES "${DSTREAM_RDKAFKA_INCLUDE_DIR}")
endif()
