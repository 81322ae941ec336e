/** The build of papaparse that wants no Node has the types of the other. */
declare module "papaparse/papaparse.min.js" {
  import Papa from "papaparse";
  export default Papa;
}
