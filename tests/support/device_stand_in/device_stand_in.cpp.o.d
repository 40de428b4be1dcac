/work/main/tests/support/device_stand_in/device_stand_in.cpp.o: \
 ../../tests/support/device_stand_in/device_stand_in.cpp \
 /usr/include/stdc-predef.h \
 ../../tests/support/device_stand_in/device_stand_in.h \
 /usr/include/c++/12/iterator /usr/include/c++/12/optional \
 /usr/include/c++/12/utility \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/native/CPUFallback.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/stack.h \
 /usr/include/c++/12/type_traits \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/KernelFunction.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/BoxedKernel.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/OperatorKernel.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/BoxedKernel_impl.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/TypeList.h \
 /usr/include/c++/12/atomic /usr/include/c++/12/memory \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/KernelFunction_impl.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/impl/WrapFunctionIntoFunctor.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/core/CompileTimeFunctionPointer.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/TypeTraits.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/impl/WrapFunctionIntoRuntimeFunctor.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/impl/boxing.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/Metaprogramming.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/boxing/impl/make_boxed_from_unboxed_functor.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/dispatch/Dispatcher.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/dispatch/CppSignature.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/macros/Macros.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/torch/headeronly/macros/Macros.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/Type.h \
 /usr/include/c++/12/typeindex \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/dispatch/OperatorEntry.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/dispatch/DispatchKeyExtractor.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/function_schema.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/StringUtil.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/alias_info.h \
 /usr/include/c++/12/set /usr/include/c++/12/string \
 /usr/include/c++/12/unordered_set /usr/include/c++/12/vector \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/Exception.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/dispatch/OperatorOptions.h \
 /usr/include/c++/12/cstdint /usr/include/c++/12/string_view \
 /usr/include/c++/12/unordered_map \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/function_schema_inl.h \
 /usr/include/c++/12/ostream /usr/include/c++/12/sstream \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/Bitset.h \
 /usr/include/c++/12/cstddef \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/core/PyHandleCache.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/dispatch/RegistrationHandleRAII.h \
 /usr/include/c++/12/functional \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/enum_tag.h \
 /usr/include/c++/12/array /usr/include/c++/12/list \
 /usr/include/c++/12/bits/stl_algobase.h \
 /usr/include/c++/12/bits/allocator.h \
 /usr/include/c++/12/bits/range_access.h \
 /usr/include/c++/12/bits/stl_list.h \
 /usr/include/c++/12/bits/concept_check.h \
 /usr/include/c++/12/ext/alloc_traits.h \
 /usr/include/c++/12/initializer_list \
 /usr/include/c++/12/bits/allocated_ptr.h \
 /usr/include/c++/12/ext/aligned_buffer.h \
 /usr/include/c++/12/bits/list.tcc \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/LeftRight.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/Synchronized.h \
 /usr/include/c++/12/mutex /usr/include/c++/12/thread \
 /usr/include/c++/12/compare /usr/include/c++/12/stop_token \
 /usr/include/c++/12/bits/std_thread.h \
 /usr/include/c++/12/bits/this_thread_sleep.h \
 /usr/include/c++/12/condition_variable \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/torch/library.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/op_registration/infer_schema.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/op_registration/op_allowlist.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/torch/csrc/jit/frontend/function_schema_parser.h \
 /usr/include/c++/12/variant \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/op_registration/op_registration.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/ATenOpList.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/macros/Export.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/torch/custom_class.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/builtin_function.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/function.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/core/class_type.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/torch/custom_class_detail.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/ATen/native/TensorShape.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/core/CPUAllocator.h \
 /usr/include/c++/12/cstring \
 /usr/include/x86_64-linux-gnu/c++/12/bits/c++config.h \
 /usr/include/string.h \
 /root/.cache/switchyard/libtorch-2.11.0/torch/include/c10/util/Flags.h
