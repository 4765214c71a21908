# cmake -DNM=nm -DLIBRARY=libtandem_executorch.so -P check_exports.cmake
#
# The library exports the C ABI and nothing else, and no code of the compiler is in it.
execute_process(COMMAND ${NM} --dynamic --defined-only --format=posix ${LIBRARY} OUTPUT_VARIABLE exported
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "\n$" "" exported "${exported}")
string(REPLACE "\n" ";" exported "${exported}")
foreach(line IN LISTS exported)
  if(NOT line MATCHES "^tandem_[a-z_]+ T ")
    message(SEND_ERROR "exported beside the C ABI: ${line}")
  endif()
endforeach()
list(LENGTH exported count)
foreach(needed tandem_load tandem_destroy tandem_execute tandem_output_sizes tandem_get_report tandem_get_step tandem_get_value
        tandem_get_symbol tandem_get_input tandem_get_output tandem_last_error tandem_abi_version tandem_version tandem_register tandem_list_delegates
        tandem_tracing)
  if(NOT exported MATCHES "(^|;)${needed} T ")
    message(SEND_ERROR "${needed} is not exported")
  endif()
endforeach()
execute_process(COMMAND ${NM} ${LIBRARY} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
if(NOT symbols MATCHES "tandem_engine")
  message(SEND_ERROR "no symbol of the engine: the library is stripped, and this check sees nothing")
endif()
if(symbols MATCHES "tandem_compiler|tandem_lower")
  message(SEND_ERROR "the library holds code of the compiler")
endif()
message(STATUS "${count} exported functions, no compiler symbol")
