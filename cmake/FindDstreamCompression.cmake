# Finds lz4 and xxHash, which ship no CMake package on Debian, as Dstream::lz4 and Dstream::xxhash.

include(FindPackageHandleStandardArgs)

foreach(library IN ITEMS lz4 xxhash)
  string(TOUPPER ${library} upper)
  find_path(DSTREAM_${upper}_INCLUDE_DIR ${library}.h)
  find_library(DSTREAM_${upper}_LIBRARY ${library})
  mark_as_advanced(DSTREAM_${upper}_INCLUDE_DIR DSTREAM_${upper}_LIBRARY)
endforeach()

find_package_handle_standard_args(DstreamCompression REQUIRED_VARS DSTREAM_LZ4_LIBRARY DSTREAM_LZ4_INCLUDE_DIR
                                                                   DSTREAM_XXHASH_LIBRARY DSTREAM_XXHASH_INCLUDE_DIR)

if(DstreamCompression_FOUND)
  foreach(library IN ITEMS lz4 xxhash)
    if(NOT TARGET Dstream::${library})
      string(TOUPPER ${library} upper)
      add_library(Dstream::${library} UNKNOWN IMPORTED)
      set_target_properties(
        Dstream::${library} PROPERTIES IMPORTED_LOCATION "${DSTREAM_${upper}_LIBRARY}"
                                       INTERFACE_INCLUDE_DIRECTORIES "${DSTREAM_${upper}_INCLUDE_DIR}")
    endif()
  endforeach()
endif()
