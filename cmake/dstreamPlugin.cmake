# How plugins and the programs that load them are declared; installed with the package.

# dstream_add_plugin(<name> <source>...)
#
# Declares the plugin <name>.so. It has none of the library in it: the program that loads it brings that.
function(dstream_add_plugin name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE dstream::plugin)
  set_target_properties(${name} PROPERTIES PREFIX "" CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()

# dstream_plugin_host(<target> [<connector>...])
#
# Makes an executable fit to load plugins: it has the whole library in it, for plugins to use, and the connectors named
# (sqlite, postgres, kafka).
function(dstream_plugin_host target)
  set_target_properties(${target} PROPERTIES ENABLE_EXPORTS ON)
  set(archives "")
  foreach(library IN ITEMS rdd receivers streaming plugins ${ARGN})
    list(APPEND archives "$<TARGET_FILE:dstream::${library}>")
  endforeach()
  target_link_options(${target} PRIVATE -Wl,--whole-archive ${archives} -Wl,--no-whole-archive)
  list(TRANSFORM ARGN PREPEND "dstream::" OUTPUT_VARIABLE connectors)
  target_link_libraries(${target} PRIVATE dstream::plugins ${connectors})
endfunction()
