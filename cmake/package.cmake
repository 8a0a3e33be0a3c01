# Install rules: find_package(dstream) gives dstream::rdd, dstream::receivers, dstream::streaming, dstream::plugins and
# the connectors, and the functions for plugins.

include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/dstream")
configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/dstreamConfig.cmake.in" "${PROJECT_BINARY_DIR}/dstreamConfig.cmake"
  INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/dstreamConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(EXPORT dstreamTargets NAMESPACE dstream:: DESTINATION "${package_dir}")
install(FILES "${PROJECT_BINARY_DIR}/dstreamConfig.cmake" "${PROJECT_BINARY_DIR}/dstreamConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/FindDstreamCompression.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/FindDstreamRdkafka.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/dstreamPlugin.cmake"
        DESTINATION "${package_dir}")
