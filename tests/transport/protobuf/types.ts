/**
 * Types with fields of every kind, made as protobuf's compiler would make them of a file.
 */
import { create, createFileRegistry, type DescMessage } from "@bufbuild/protobuf"
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt"

const field = (name: string, number: number, type: Type, more: object = {}) => {
  const jsonName = name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
  return { name, jsonName, number, type, ...more }
}
const repeated = { label: Label.REPEATED }

const mapEntry = (name: string, value: object) => ({
  name,
  options: { mapEntry: true },
  field: [field("key", 1, Type.STRING), { name: "value", jsonName: "value", number: 2, ...value }],
})

const file: FileDescriptorProto = create(FileDescriptorProtoSchema, {
  name: "kinds.proto",
  package: "kinds",
  syntax: "proto3",
  messageType: [
    {
      name: "Node",
      field: [
        field("number", 1, Type.INT32),
        field("text", 2, Type.STRING),
        field("bytes", 3, Type.BYTES),
        field("real", 4, Type.DOUBLE),
        field("long", 5, Type.INT64),
        field("flag", 6, Type.BOOL),
        field("single", 7, Type.FLOAT),
        field("fixed", 8, Type.FIXED32),
        field("child", 9, Type.MESSAGE, { typeName: ".kinds.Node" }),
        field("nodes", 10, Type.MESSAGE, { ...repeated, typeName: ".kinds.Node" }),
        field("numbers", 11, Type.INT32, repeated),
        field("longs", 12, Type.INT64, repeated),
        field("reals", 13, Type.DOUBLE, repeated),
        field("texts", 14, Type.STRING, repeated),
        field("blobs", 15, Type.BYTES, repeated),
        field("counts", 16, Type.MESSAGE, { ...repeated, typeName: ".kinds.Node.CountsEntry" }),
        field("named", 17, Type.MESSAGE, { ...repeated, typeName: ".kinds.Node.NamedEntry" }),
        field("one_text", 18, Type.STRING, { oneofIndex: 0 }),
        field("one_node", 19, Type.MESSAGE, { oneofIndex: 0, typeName: ".kinds.Node" }),
        field("floats", 20, Type.FLOAT, repeated),
        field("flags", 21, Type.BOOL, repeated),
      ],
      oneofDecl: [{ name: "one" }],
      nestedType: [
        mapEntry("CountsEntry", { type: Type.INT32 }),
        mapEntry("NamedEntry", { type: Type.MESSAGE, typeName: ".kinds.Node" }),
      ],
    },
  ],
})

const older: FileDescriptorProto = create(FileDescriptorProtoSchema, {
  name: "older.proto",
  package: "older",
  syntax: "proto2",
  messageType: [
    {
      name: "Holder",
      field: [
        field("group", 1, Type.GROUP, { label: Label.OPTIONAL, typeName: ".older.Holder.Group" }),
        field("level", 2, Type.ENUM, { label: Label.OPTIONAL, typeName: ".older.Level" }),
      ],
      nestedType: [{ name: "Group", field: [field("number", 1, Type.INT32, { label: Label.OPTIONAL })] }],
      extensionRange: [{ start: 100, end: 200 }],
    },
  ],
  enumType: [{ name: "Level", value: [{ name: "LOW", number: 0 }] }],
  extension: [field("note", 100, Type.STRING, { label: Label.OPTIONAL, extendee: ".older.Holder" })],
})

export const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file, older] }))

const message = (name: string): DescMessage => {
  const found = registry.getMessage(name)
  if (found === undefined) throw new Error(`there is no ${name}`)
  return found
}

export const nodeDesc = message("kinds.Node")
export const holderDesc = message("older.Holder")
