// What the linker sees in place of TensorFlow: a library with TensorFlow's soname and the names of c_api.h. It makes
// the op library carry a dependency on libtensorflow_framework.so.2, which every TensorFlow process has loaded already;
// it is never installed nor run.
#define FASTSEQ_STUB(name) \
  void name();             \
  void name() {}

extern "C" {
FASTSEQ_STUB(TF_NewStatus)
FASTSEQ_STUB(TF_DeleteStatus)
FASTSEQ_STUB(TF_SetStatus)
FASTSEQ_STUB(TF_GetCode)
FASTSEQ_STUB(TF_Message)
FASTSEQ_STUB(TF_NewTensor)
FASTSEQ_STUB(TF_TensorType)
FASTSEQ_STUB(TF_NumDims)
FASTSEQ_STUB(TF_Dim)
FASTSEQ_STUB(TF_TensorData)
FASTSEQ_STUB(TF_DeleteTensor)
FASTSEQ_STUB(TF_NewOpDefinitionBuilder)
FASTSEQ_STUB(TF_OpDefinitionBuilderAddAttr)
FASTSEQ_STUB(TF_OpDefinitionBuilderAddInput)
FASTSEQ_STUB(TF_OpDefinitionBuilderAddOutput)
FASTSEQ_STUB(TF_OpDefinitionBuilderSetShapeInferenceFunction)
FASTSEQ_STUB(TF_RegisterOpDefinition)
FASTSEQ_STUB(TF_NewKernelBuilder)
FASTSEQ_STUB(TF_KernelBuilder_TypeConstraint)
FASTSEQ_STUB(TF_RegisterKernelBuilder)
FASTSEQ_STUB(TF_OpKernelConstruction_GetAttrBool)
FASTSEQ_STUB(TF_OpKernelConstruction_GetAttrInt64)
FASTSEQ_STUB(TF_OpKernelConstruction_GetAttrSize)
FASTSEQ_STUB(TF_OpKernelConstruction_GetAttrInt64List)
FASTSEQ_STUB(TF_OpKernelConstruction_GetAttrString)
FASTSEQ_STUB(TF_OpKernelConstruction_Failure)
FASTSEQ_STUB(TF_GetInput)
FASTSEQ_STUB(TF_AllocateOutput)
FASTSEQ_STUB(TF_ForwardInputOrAllocateOutput)
FASTSEQ_STUB(TF_SetOutput)
FASTSEQ_STUB(TF_OpKernelContext_Failure)
FASTSEQ_STUB(TF_NewShapeHandle)
FASTSEQ_STUB(TF_DeleteShapeHandle)
FASTSEQ_STUB(TF_ShapeInferenceContextVectorFromSize)
FASTSEQ_STUB(TF_ShapeInferenceContextGetInput)
FASTSEQ_STUB(TF_ShapeInferenceContextSetOutput)
FASTSEQ_STUB(TF_ShapeInferenceContextWithRank)
FASTSEQ_STUB(TF_ShapeInferenceContextSubshape)
FASTSEQ_STUB(TF_ShapeInferenceContextConcatenateShapes)
}
