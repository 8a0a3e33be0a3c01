# Compiles a wrong program and checks that the compiler refuses it with the text that the program's first line expects.
file(READ "${PROGRAM}" program)
if(NOT program MATCHES "// expect: ([^\n]+)")
  message(FATAL_ERROR "${PROGRAM} must begin with a line '// expect: <regular expression>'")
endif()
set(expected "${CMAKE_MATCH_1}")
list(TRANSFORM INCLUDES PREPEND -I)
execute_process(
  COMMAND "${COMPILER}" -std=c++20 -fsyntax-only -fmax-errors=1 ${INCLUDES} "${PROGRAM}"
  RESULT_VARIABLE status
  ERROR_VARIABLE messages)
if(status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} compiles, but must not")
endif()
if(NOT messages MATCHES "${expected}")
  message(FATAL_ERROR "expected /${expected}/ in the messages:\n${messages}")
endif()
