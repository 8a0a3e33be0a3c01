# Runs PROGRAM in FOLDER with the arguments of args.txt and compares what it prints with expected.txt.

set(arguments "")
if(EXISTS "${FOLDER}/args.txt")
  file(STRINGS "${FOLDER}/args.txt" arguments)
endif()
file(READ "${FOLDER}/expected.txt" expected)
execute_process(COMMAND "${PROGRAM}" ${arguments} WORKING_DIRECTORY "${FOLDER}" OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${status}; it printed:\n${printed}")
elseif(NOT printed STREQUAL expected)
  message(FATAL_ERROR "${PROGRAM}: expected\n${expected}\nprinted\n${printed}")
endif()
